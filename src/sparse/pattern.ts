/**
 * Who may attend to whom, as text that people write and plans hold: `window:1024+sinks:64`,
 * `strided:8+local:4`, `dilated:2+reach:8`, `topk:16`, `mass:0.95`, `dense`. Windows and sinks count
 * tokens and are exact; the other terms count blocks, and keep blocks whole.
 */
import { AttncError } from '../errors.js'

export type Pattern = DensePattern | StaticPattern | DynamicPattern

export interface DensePattern {
  readonly kind: 'dense'
}

export interface StaticPattern {
  readonly kind: 'static'
  readonly block: number
  /** Keys less than so many positions away; 0: no window. */
  readonly window: number
  /** First keys, seen beside the window. */
  readonly sinks: number
  /** Every so many-th block, shifted from head to head, beside `local` own ones (S2-Attention). */
  readonly stride: number
  readonly local: number
  /** Every so many-th of the blocks up to `reach` of them away. */
  readonly dilation: number
  readonly reach: number
}

/** Blocks chosen while the model runs. */
export interface DynamicPattern {
  readonly kind: 'dynamic'
  readonly block: number
  /** Most blocks of a row; 0 is no limit. */
  readonly count: number
  /** Attention that the kept blocks have to hold, by the estimate; 0: `count` decides. */
  readonly mass: number
  /** First blocks and own ones, always kept. */
  readonly sinkBlocks: number
  readonly localBlocks: number
}

const terms = 'window sinks strided local dilated reach topk mass block'.split(' ')

const EXAMPLES = [
  'window:1024+sinks:64',
  'strided:8+local:4',
  'dilated:2+reach:8',
  'topk:16+sinks:64',
  'mass:0.95',
  'dense',
]

/** Error: PATTERN. */
export function parsePattern(text: string): Pattern {
  if (text.trim() === 'dense') return { kind: 'dense' }
  const given = readTerms(text)
  const has = (name: string): boolean => given.has(name)
  const get = (name: string): number => given.get(name) ?? 0
  const block = given.get('block') ?? 64
  if (block < 16 || block > 128 || block % 16 !== 0)
    throw refuse(text, `block is ${block}; expected a multiple of 16 from 16 to 128`)
  const needs = (name: string, other: string): void => {
    if (has(name) !== has(other)) throw refuse(text, `"${name}" and "${other}" go together`)
  }
  const kinds = ['window', 'strided', 'dilated', 'topk', 'mass'].filter(has)
  if (kinds.length === 0) throw refuse(text, 'it has none of window, strided, dilated, topk, mass')
  if (has('topk') || has('mass')) {
    if (kinds.some((kind) => ['strided', 'dilated'].includes(kind)))
      throw refuse(text, `"${kinds.join('" and "')}" exclude each other`)
    const [sinkBlocks, localBlocks] = ['sinks', 'window'].map((name) =>
      Math.ceil(get(name) / block),
    ) as [number, number]
    return {
      kind: 'dynamic',
      block,
      count: get('topk'),
      mass: get('mass'),
      sinkBlocks,
      localBlocks,
    }
  }
  if (kinds.length > 1) throw refuse(text, `"${kinds.join('" and "')}" exclude each other`)
  needs('strided', 'local')
  needs('dilated', 'reach')
  if (has('sinks') && !has('window')) throw refuse(text, '"sinks" stand beside a window')
  return {
    kind: 'static',
    block,
    window: get('window'),
    sinks: get('sinks'),
    stride: get('strided'),
    local: get('local'),
    dilation: get('dilated'),
    reach: get('reach'),
  }
}

function readTerms(text: string): Map<string, number> {
  const given = new Map<string, number>()
  for (const term of text.split('+')) {
    const [name = '', value = '', ...more] = term.trim().split(':')
    if (!terms.includes(name) || more.length > 0)
      throw refuse(text, `"${term.trim()}" is none of ${terms.join(', ')} with its number`)
    if (given.has(name)) throw refuse(text, `"${name}" stands twice`)
    const number = Number(value)
    const isFit =
      name === 'mass'
        ? number > 0 && number <= 1
        : Number.isInteger(number) && number >= (name === 'sinks' ? 0 : 1)
    if (value === '' || !isFit)
      throw refuse(
        text,
        `"${name}" is "${value}"; expected ${name === 'mass' ? 'more than 0 and at most 1' : 'a whole number from 1 on'}`,
      )
    given.set(name, number)
  }
  return given
}

const refuse = (text: string, reason: string): AttncError =>
  new AttncError('PATTERN', 'usage', `"${text}" is no pattern of attention: ${reason}.`, {
    suggestions: [`Patterns look like ${EXAMPLES.map((each) => `"${each}"`).join(', ')}.`],
  })
