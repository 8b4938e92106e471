/** .jsonl: a sample a line, either {"text": …} or arrays by input name. */
import { AttncError } from '../errors.js'
import { type RuntimeTensor, tensorOf } from '../onnx/numbers.js'
import type { Port } from '../runtime/session.js'
import { type Batch, makeTokenBatch } from './batch.js'
import { takeFromText } from './read-text.js'
import { sliceArrays } from './slice-arrays.js'
import { checkVocabulary, type Tokenizer } from './tokenizer.js'

export interface JsonLinesOptions {
  readonly inputs: readonly Port[]
  readonly tokenizer: () => Tokenizer
  readonly sequenceLength: number
  readonly batchSize: number
  readonly samples?: number | undefined
  readonly vocabulary?: number | undefined
}

const lineFormat =
  'A line is {"text": "…"}, or {"input_ids": [1, 2, 3], …} with an array for each input.'

const emptyError = (path: string): AttncError =>
  new AttncError('DATA_EMPTY', 'usage', `"${path}" holds no samples.`, {
    suggestions: [lineFormat],
  })

type Line = Readonly<Record<string, unknown>>

/** Errors: DATA_EMPTY, JSON_LINE, INPUT_MISSING, INPUT_SHAPE, TOKENIZER_MISMATCH. */
export function readJsonLines(path: string, options: JsonLinesOptions): Batch[] {
  const { samples } = options
  const lines = takeFromText(
    path,
    samples === undefined ? Number.POSITIVE_INFINITY : 1 << 20,
    (text, isWhole) => {
      // The last line of a beginning may lack its end.
      const all = text.split('\n').slice(0, isWhole ? undefined : -1)
      const wanted = all.filter((line) => line.trim() !== '').length
      return isWhole || wanted >= (samples ?? 0) ? parse(path, all, samples) : undefined
    },
  ) as Line[]
  if (lines.length === 0) throw emptyError(path)
  const texts = lines.flatMap((line) => (typeof line['text'] === 'string' ? [line['text']] : []))
  if (texts.length === lines.length) {
    const tokenizer = options.tokenizer()
    const rows = texts
      .map((text) => tokenizer.encode(text, true).slice(0, options.sequenceLength))
      .filter((row) => row.length > 0)
    if (rows.length === 0) throw emptyError(path)
    checkVocabulary(rows, options.vocabulary)
    const batches: Batch[] = []
    for (let at = 0; at < rows.length; at += options.batchSize)
      batches.push(makeTokenBatch(rows.slice(at, at + options.batchSize), options.inputs))
    return batches
  }
  // Samples of different lengths go one by one.
  return lines.flatMap((line, index) => {
    const arrays = Object.fromEntries(
      Object.entries(line).map(([name, value]) => [name, toTensor(value, path, index, name)]),
    )
    return sliceArrays(arrays, options.inputs, { what: `${path}:${index + 1}`, batchSize: 1 })
  })
}

function parse(path: string, all: readonly string[], most = Number.POSITIVE_INFINITY): Line[] {
  const lines: Line[] = []
  for (const [index, text] of all.entries()) {
    if (lines.length >= most) break
    if (text.trim() !== '') lines.push(parseLine(path, index, text))
  }
  return lines
}

function parseLine(path: string, index: number, text: string): Line {
  try {
    const line: unknown = JSON.parse(text)
    if (typeof line === 'object' && line !== null && !Array.isArray(line)) return line as Line
  } catch {
    // Said below.
  }
  throw new AttncError(
    'JSON_LINE',
    'usage',
    `Line ${index + 1} of "${path}" is no JSON object: ${text.slice(0, 60)}`,
    { suggestions: [lineFormat] },
  )
}

/** A nested list as one sample of a batch. */
function toTensor(value: unknown, path: string, index: number, name: string): RuntimeTensor {
  const dims: number[] = []
  for (let each = value; Array.isArray(each); each = each[0]) dims.push(each.length)
  const numbers: number[] = []
  if (!collect(value, dims, numbers))
    throw new AttncError(
      'JSON_LINE',
      'usage',
      `"${name}" in line ${index + 1} of "${path}" is no rectangular list of numbers.`,
      { suggestions: [lineFormat] },
    )
  return tensorOf('float64', [1, ...dims], numbers)
}

/** Whether a list has these lengths at every level, and numbers in it, which are added to `numbers`. */
function collect(value: unknown, [length, ...rest]: readonly number[], numbers: number[]): boolean {
  if (length !== undefined)
    return (
      Array.isArray(value) &&
      value.length === length &&
      value.every((each) => collect(each, rest, numbers))
    )
  if (typeof value !== 'number' && typeof value !== 'boolean') return false
  numbers.push(Number(value))
  return true
}
