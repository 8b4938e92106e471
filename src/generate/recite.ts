/**
 * Text that a language model makes up, many windows at once: what a smaller model can learn from where there is
 * little data, and what can be calibrated on where there is none. Windows begin by turns with a few tokens of the data,
 * with the token that texts begin with, and with any token (Liu et al., LLM-QAT, 2023, section 3.1; Williams et
 * al., "Self-calibration for Language Model Quantization and Pruning", 2024), so that what the data never speak of
 * comes up as well.
 */
import { type Batch, makeTokenBatch } from '../data/batch.js'
import { portsOf } from '../data/open-data.js'
import { AttncError } from '../errors.js'
import { materialise } from '../runtime/materialise.js'
import { beginnings } from './beginnings.js'
import { type Decoder, openDecoder } from './decoder.js'
import { noiseSize } from './draw.js'
import { type Drawing, prepareDrawing, prepareFixedDrawing } from './drawing.js'
import type { ReciteOptions } from './recite-options.js'
import { assertAsWhole, placesToCompare } from './whole-text.js'

/** Windows of `length` tokens as inputs of `source`. Errors: ENCODER_TEXT, those of ports, configs and sessions. */
export async function recite(options: ReciteOptions): Promise<Batch[]> {
  const { source, windows, batchSize, provider, fixesCache = provider === 'cuda' } = options
  const said =
    (fixesCache ? await sayInPlace(options) : undefined) ??
    (await say(options, prepareDrawing(options)))
  const inputs = portsOf(source.model)
  const taken = said.slice(0, windows)
  return Array.from({ length: Math.ceil(windows / batchSize) }, (_, index) =>
    makeTokenBatch(taken.slice(index * batchSize, (index + 1) * batchSize), inputs),
  )
}

/** By a cache that stays in its place; undefined where the model has none such, or would say something else. */
async function sayInPlace(options: ReciteOptions): Promise<number[][] | undefined> {
  const drawing = prepareFixedDrawing(options)
  if (!drawing) return undefined
  try {
    return await say(options, drawing)
  } catch (error) {
    options.signal?.throwIfAborted()
    // It was worth a try; the way that every model can go follows.
    if (!(error instanceof AttncError)) throw error
    options.log.info(`The cache can't stay in its place. ${error.message}`)
    return undefined
  }
}

/**
 * All windows, and a few more where they come by batches. Error: CACHE_IN_PLACE where a fixed cache
 * doesn't say what the model says.
 */
async function say(options: ReciteOptions, drawing: Drawing): Promise<number[][]> {
  const { ports, isFixed } = drawing
  const said: number[][] = []
  const file = materialise(drawing.model)
  try {
    await using decoder = await openDecoder({ ...options, ports, path: file.path, isFixed })
    while (said.length < options.windows)
      said.push(...(await sayTogether(options, drawing, decoder, said.length)))
  } finally {
    file.dispose()
  }
  return said
}

/** As many windows as run together, from number `from` on. */
async function sayTogether(
  options: ReciteOptions,
  { rows, isFixed }: Drawing,
  decoder: Decoder,
  from: number,
): Promise<number[][]> {
  const { windows, length, log, signal } = options
  const begin = beginnings(options)
  const begun = Array.from({ length: rows }, (_, row) => begin(from + row))
  const said = begun.map(({ given: [first = 0] }) => [first])
  const compared = isFixed && from === 0 ? placesToCompare(length) : []
  const scores = new Map<number, Float32Array>()
  decoder.restart()
  for (let count = 1; count < length; count++) {
    signal?.throwIfAborted()
    const { tokens, firstScores } = await decoder.drawOfAll(
      said.map((ids) => ids.slice(-1)),
      begun.map(({ chance }) => Math.floor(chance() * noiseSize)),
      begun.map(({ temperature }) => temperature),
    )
    if (firstScores && compared.includes(count - 1)) scores.set(count - 1, firstScores)
    // A beginning goes on as it was given, whatever the model would say there.
    for (const [row, ids] of said.entries())
      ids.push(begun[row]?.given[count] ?? (tokens[row] as number))
    log.progress('reciting', Math.min(from + (rows * (count + 1)) / length, windows), windows)
  }
  const [first = []] = said
  if (scores.size > 0) await assertAsWhole(options, first, scores)
  return said
}
