/** Text as batches of tokens: windows of a stream, or one sentence a row. */
import { AttncError } from '../errors.js'
import type { Port } from '../runtime/session.js'
import { type Batch, makeTokenBatch } from './batch.js'
import { readDataText } from './read-text.js'
import { checkVocabulary, type Tokenizer } from './tokenizer.js'

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
  const text = readDataText(path)
  const rows =
    options.mode === 'sentences' ? sentenceRows(text, options) : windowRows(text, options)
  if (rows.length === 0)
    throw new AttncError(
      'DATA_EMPTY',
      'usage',
      `"${path}" holds too little text: ${foundIn(text, options)}.`,
      { suggestions: [nextStep(text, options)] },
    )
  checkVocabulary(rows, options.vocabulary)
  const batches: Batch[] = []
  for (let at = 0; at < rows.length; at += options.batchSize)
    batches.push(makeTokenBatch(rows.slice(at, at + options.batchSize), options.inputs))
  return batches
}

function foundIn(text: string, options: TextOptions): string {
  if (options.mode === 'sentences')
    return `none of its ${text.split('\n').filter((line) => line.trim() !== '').length} lines has a sentence of 8 to 60 words`
  return `no window of ${options.sequenceLength} tokens could be made of its ${idsOf(text, options).length}`
}

function nextStep(text: string, options: TextOptions): string {
  if (options.mode === 'sentences') return 'Give a longer text, or --text-mode stream.'
  const { length } = idsOf(text, options)
  return length > 1
    ? `Give a longer text, or --sequence-length ${length} at most.`
    : 'Give a longer text.'
}

function windowRows(text: string, options: TextOptions): number[][] {
  const { sequenceLength } = options
  const ids = idsOf(text, options)
  const rows: number[][] = []
  for (let at = 0; at + sequenceLength <= ids.length; at += sequenceLength)
    rows.push(ids.slice(at, at + sequenceLength))
  return rows.slice(0, options.samples)
}

/** The stream that windows are cut from. */
function idsOf(text: string, options: TextOptions): number[] {
  const { tokenizer, mode, startToken } = options
  let ids: number[]
  if (mode === 'paragraphs') {
    const parts = text.split(/\n\s*\n/).filter((part) => part.trim() !== '')
    ids = parts.flatMap((part) => [
      ...(startToken === undefined ? [] : [startToken]),
      ...tokenizer.encode(part),
    ])
  } else ids = tokenizer.encode(text)
  return options.tokens === undefined ? ids : ids.slice(0, options.tokens)
}

/** Lines, headings left out, split where a sentence ends; 8 to 60 words. */
function splitSentences(text: string): string[] {
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
