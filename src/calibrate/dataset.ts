/**
 * Calibration and evaluation data as batches of feeds. Text becomes windows of tokens; arrays are
 * fed as they are. Inputs that the data doesn't have (mask, positions, empty caches) are made from
 * their declared types, as hosts do.
 */
import { readFileSync } from 'node:fs'
import { AttncError } from '../errors.js'
import { type RuntimeTensor, tensorOf, zeros } from '../onnx/numbers.js'
import type { Feeds, Port } from '../runtime/session.js'
import type { Tokenizer } from './tokenizer.js'

export interface Batch {
  readonly feeds: Feeds
  /** 1 for a real token, 0 for padding: [batch, sequence]; undefined where data isn't tokens. */
  readonly tokenMask: RuntimeTensor | undefined
  /** Ids as fed, row by row, for losses; empty where data isn't tokens. */
  readonly ids: readonly (readonly number[])[]
}

export type TextMode = 'stream' | 'paragraphs' | 'sentences'

export interface TextOptions {
  readonly inputs: readonly Port[]
  readonly tokenizer: Tokenizer
  /** Tokens of a window. */
  readonly sequenceLength: number
  readonly batchSize: number
  /** Windows at most. */
  readonly samples?: number | undefined
  /** Tokens at most, counted before cutting. */
  readonly tokens?: number | undefined
  /**
   * `stream`: the whole text as one string, windows without overlap. `paragraphs`: split at blank
   * lines, each preceded by `startToken`, then one stream. `sentences`: one row each, padded.
   */
  readonly mode?: TextMode
  readonly startToken?: number | undefined
  readonly vocabulary?: number | undefined
}

/** Batches of a text file. Errors: DATA_EMPTY, TOKENIZER_MISMATCH, INPUT_UNKNOWN. */
export function readText(path: string, options: TextOptions): Batch[] {
  const text = readFileSync(path, 'utf8')
  const rows =
    options.mode === 'sentences' ? sentenceRows(text, options) : windowRows(text, options)
  if (rows.length === 0)
    throw new AttncError(
      'DATA_EMPTY',
      'usage',
      `"${path}" holds too little text: no window of ${options.sequenceLength} tokens could be made.`,
      { suggestions: ['Give a longer text, or a smaller --sequence-length.'] },
    )
  const largest = rows.reduce((top, row) => row.reduce((a, b) => Math.max(a, b), top), 0)
  if (options.vocabulary !== undefined && largest >= options.vocabulary)
    throw new AttncError(
      'TOKENIZER_MISMATCH',
      'usage',
      `The tokenizer yields id ${largest}, the model's vocabulary has ${options.vocabulary} entries.`,
      { suggestions: ['Put the tokenizer that belongs to the model into its folder.'] },
    )
  const batches: Batch[] = []
  for (let at = 0; at < rows.length; at += options.batchSize)
    batches.push(makeBatch(rows.slice(at, at + options.batchSize), options.inputs))
  return batches
}

function windowRows(text: string, options: TextOptions): number[][] {
  const { tokenizer, sequenceLength, mode, startToken } = options
  let ids: number[]
  if (mode === 'paragraphs') {
    const parts = text.split(/\n\s*\n/).filter((part) => part.trim() !== '')
    ids = parts.flatMap((part) => [
      ...(startToken === undefined ? [] : [startToken]),
      ...tokenizer.encode(part),
    ])
  } else ids = tokenizer.encode(text)
  if (options.tokens !== undefined) ids = ids.slice(0, options.tokens)
  const rows: number[][] = []
  for (let at = 0; at + sequenceLength <= ids.length; at += sequenceLength)
    rows.push(ids.slice(at, at + sequenceLength))
  return rows.slice(0, options.samples)
}

/** Lines, headings left out, split where a sentence ends; 8 to 60 words. */
export function splitSentences(text: string): string[] {
  return text
    .split('\n')
    .filter((line) => line.trim() !== '' && !line.trimStart().startsWith('='))
    .flatMap((line) => line.split(' . '))
    .map((sentence) => sentence.trim())
    .filter((sentence) => {
      const words = sentence.split(' ').length
      return words >= 8 && words <= 60
    })
}

function sentenceRows(text: string, options: TextOptions): number[][] {
  return splitSentences(text)
    .slice(0, options.samples)
    .map((sentence) => options.tokenizer.encode(sentence, true).slice(0, options.sequenceLength))
    .toSorted((a, b) => a.length - b.length)
}

/** Rows of ids, padded at the right to the longest. */
export function makeBatch(rows: readonly (readonly number[])[], inputs: readonly Port[]): Batch {
  const length = Math.max(...rows.map((row) => row.length))
  const dims = [rows.length, length]
  const flat = rows.flatMap((row) => [...row, ...Array<number>(length - row.length).fill(0)])
  const mask = rows.flatMap((row) => Array.from({ length }, (_, i) => (i < row.length ? 1 : 0)))
  const positions = rows.flatMap(() => Array.from({ length }, (_, i) => i))
  const feeds: Record<string, RuntimeTensor> = {}
  for (const port of inputs) {
    const fill = /mask/i.test(port.name)
      ? mask
      : /position/i.test(port.name)
        ? positions
        : /token_type|segment/i.test(port.name)
          ? flat.map(() => 0)
          : flat
    feeds[port.name] = fillPort(port, dims, fill)
  }
  return { feeds, tokenMask: tensorOf('float32', dims, mask), ids: rows }
}

function fillPort(port: Port, dims: readonly number[], values: readonly number[]): RuntimeTensor {
  if (port.dims.length === 2) return tensorOf(port.dataType, dims, values)
  if (port.dims.length === 4 && port.dataType.startsWith('float'))
    return zeros(
      port.dataType,
      port.dims.map((dim, axis) =>
        axis === 0 ? (dims[0] as number) : typeof dim === 'number' ? dim : 0,
      ),
    )
  if (port.dims.length <= 1 && port.dataType === 'bool')
    return zeros(
      'bool',
      port.dims.map(() => 1),
    )
  throw new AttncError(
    'INPUT_UNKNOWN',
    'usage',
    `Input "${port.name}" (${port.dataType} [${port.dims}]) can't be made from text.`,
    { suggestions: ['Give the data as arrays: an .npz with one array for each input.'] },
  )
}
