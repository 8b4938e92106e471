/**
 * What a command printed, or why it failed, as a section of Markdown: for the page of a CI job. Sections
 * are added at the end of the file, as GITHUB_STEP_SUMMARY expects, so that several steps share a page.
 */
import { appendFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { AttncError } from '../errors.js'
import { makeFolder } from '../write-whole.js'
import { shellWord } from './text.js'

export interface Outcome {
  /** As it was typed. */
  readonly command: readonly string[]
  readonly lines: readonly string[]
  readonly error: Error | undefined
  readonly exitCode: number
}

export function summaryText({ command, lines, error, exitCode }: Outcome): string {
  const { code, suggestions = [] } = (error ?? {}) as Partial<AttncError>
  const result = exitCode === 0 ? 'passed' : `exit ${exitCode}${code ? `, ${code}` : ''}`
  const words = command.map(shellWord)
  const text = lines.join('\n').replaceAll('```', "'''").trim()
  return [
    `### attnc ${command[0]}: ${result}`,
    `\`${words.join(' ').replaceAll('`', "'")}\``,
    ...(error ? [`**${escaped(error.message)}**`] : []),
    ...(error && suggestions.length > 0
      ? [suggestions.map((each) => `- ${escaped(each)}`).join('\n')]
      : []),
    ...(text === '' ? [] : [`\`\`\`text\n${text}\n\`\`\``]),
    '',
  ].join('\n\n')
}

/** Error: REPORT_UNWRITABLE. */
export function appendToReport(path: string, text: string): void {
  try {
    makeFolder(dirname(path))
    appendFileSync(path, text)
  } catch (cause) {
    throw new AttncError(
      'REPORT_UNWRITABLE',
      'usage',
      `"${path}" can't be written: ${(cause as Error).message}.`,
      { cause, suggestions: ['Name a file that this user may add to with --summary.'] },
    )
  }
}

const escaped = (text: string): string => text.replace(/[\\`*_<>[\]|]/g, '\\$&')
