/**
 * What was typed wrongly, as an error like all others: what was found, the nearest flag, the next step; and
 * no pages of help behind it that push it off the screen.
 */

import { AttncError } from '../errors.js'
import type { KnownFlags } from './config-file.js'
import { nearestOf } from './nearest.js'

/** What oclif's parser throws, as far as it is read here. */
interface ParseError extends Error {
  readonly parse: unknown
  readonly flags?: readonly string[]
  readonly args?: readonly unknown[]
}

export interface Typed {
  /** `attnc prune` */
  readonly command: string
  readonly flags: KnownFlags
  /** The file of the flags that were not typed, where there are some. */
  readonly defaults?: string | undefined
}

/** Error: USAGE in place of one of the parser; others as they are. */
export function explainUsage(error: Error, { command, flags, defaults }: Typed): Error {
  const isOfParser = 'parse' in error || /^(Parsing|Flag) --/.test(error.message)
  if (!isOfParser) return error
  const { flags: unknown, args } = error as ParseError
  const help = `"${command} --help" lists arguments and flags.`
  const refuse = (message: string, ...suggestions: string[]): AttncError =>
    new AttncError('USAGE', 'usage', message, {
      cause: error,
      suggestions: [
        ...suggestions,
        ...(defaults === undefined ? [] : [`Some flags come from "${defaults}".`]),
        help,
      ],
    })
  if (unknown) {
    const known = Object.keys(flags).map((name) => `--${name}`)
    const names = unknown.map((each) => each.replace(/=.*/s, ''))
    const meant = names.flatMap((each) => nearestOf(each, known))
    return refuse(
      `${command} has no flag ${names.join(', ')}.`,
      ...(meant.length > 0 ? [`Did you mean ${meant.join(' or ')}?`] : []),
    )
  }
  if (args && /^Missing/.test(error.message)) {
    const names = args.map((arg) => String((arg as { readonly name?: string }).name).toUpperCase())
    return refuse(`${command} needs ${names.join(' and ')}, and none was given.`)
  }
  return refuse(plain(error.message))
}

/** Without the parser's own frame. */
const plain = (message: string): string =>
  message
    .replace(/\nSee more help with --help$/, '')
    .replace(/^The following errors? occurred:\s*/, '')
    .replace(/^Parsing (--\S+)\s*Expected/, '$1: expected')
    .replaceAll(/required flag (?=\w)/g, 'required flag --')
    .replaceAll(/\s*\n\s*/g, '; ')
    .replace(/([^.])$/, '$1.')
