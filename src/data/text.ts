/** Text as batches of tokens: windows of a stream, or one sentence a row. */
import { AttncError } from '../errors.js'
import type { Port } from '../runtime/session.js'
import { type Batch, makeTokenBatch } from './batch.js'
import { takeFromText } from './read-text.js'
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
  const rows = rowsOf(path, options)
  checkVocabulary(rows, options.vocabulary)
  const batches: Batch[] = []
  for (let at = 0; at < rows.length; at += options.batchSize)
    batches.push(makeTokenBatch(rows.slice(at, at + options.batchSize), options.inputs))
  return batches
}

function rowsOf(path: string, options: TextOptions): number[][] {
  const rows = takeFromText(path, bytesOf(tokensWanted(options)), (text, isWhole) => {
    const own = isWhole ? text : beginningOf(text, options)
    const found =
      options.mode === 'sentences'
        ? sentenceRows(own, options, isWhole)
        : windowRows(own, options, isWhole)
    if (found?.length !== 0) return found
    throw new AttncError(
      'DATA_EMPTY',
      'usage',
      `"${path}" holds too little text: ${foundIn(own, options)}.`,
      { suggestions: [nextStep(own, options)] },
    )
  })
  return rows ?? []
}

/** The part of a beginning that is read as it would be in the whole: up to the end of a paragraph, line or word. */
function beginningOf(text: string, { mode }: TextOptions): string {
  const lastOf = (...ends: string[]): number =>
    Math.max(...ends.map((end) => text.lastIndexOf(end)))
  if (mode === 'paragraphs') return text.slice(0, Math.max(0, lastOf('\n\n', '\n\r\n')))
  const line = text.lastIndexOf('\n')
  return text.slice(0, Math.max(0, line < 0 && mode !== 'sentences' ? text.lastIndexOf(' ') : line))
}

/** Bytes of a text that hold as many tokens, as a rule. */
const bytesOf = (tokens: number): number => (64 << 10) + 6 * tokens

/** Tokens that are wanted at most. */
const tokensWanted = ({ samples, sequenceLength, tokens }: TextOptions): number =>
  Math.min(
    (samples ?? Number.POSITIVE_INFINITY) * sequenceLength,
    tokens ?? Number.POSITIVE_INFINITY,
  )

/** Tokens before an end that is none of the text's, which it might have changed. */
const MARGIN = 256

function foundIn(text: string, options: TextOptions): string {
  if (options.mode === 'sentences')
    return `none of its ${text.split('\n').filter((line) => line.trim() !== '').length} lines has a sentence of 8 to 60 words`
  const { length } = idsOf(text, options).slice(0, options.tokens)
  return `no window of ${options.sequenceLength} tokens could be made of its ${length}`
}

function nextStep(text: string, options: TextOptions): string {
  if (options.mode === 'sentences') return 'Give a longer text, or --text-mode stream.'
  const { length } = idsOf(text, options).slice(0, options.tokens)
  return length > 1
    ? `Give a longer text, or --sequence-length ${length} at most.`
    : 'Give a longer text.'
}

/** Undefined where the beginning that `text` is holds fewer than are wanted. */
function windowRows(text: string, options: TextOptions, isWhole: boolean): number[][] | undefined {
  const { sequenceLength } = options
  const all = idsOf(text, options)
  if (!isWhole && all.length < tokensWanted(options) + MARGIN) return undefined
  const ids = all.slice(0, options.tokens)
  const rows: number[][] = []
  for (let at = 0; at + sequenceLength <= ids.length; at += sequenceLength)
    rows.push(ids.slice(at, at + sequenceLength))
  return rows.slice(0, options.samples)
}

/** The stream that windows are cut from. */
function idsOf(text: string, options: TextOptions): number[] {
  const { tokenizer, mode, startToken } = options
  if (mode !== 'paragraphs') return tokenizer.encode(text)
  const parts = text.split(/\n\s*\n/).filter((part) => part.trim() !== '')
  return parts.flatMap((part) => [
    ...(startToken === undefined ? [] : [startToken]),
    ...tokenizer.encode(part),
  ])
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

/** Undefined where the beginning that `text` is holds fewer than are wanted. */
function sentenceRows(
  text: string,
  options: TextOptions,
  isWhole: boolean,
): number[][] | undefined {
  const { samples = Number.POSITIVE_INFINITY } = options
  const sentences = splitSentences(text)
  if (!isWhole && sentences.length < samples) return undefined
  return sentences
    .slice(0, samples)
    .map((sentence) => options.tokenizer.encode(sentence, true).slice(0, options.sequenceLength))
    .toSorted((a, b) => a.length - b.length)
}
