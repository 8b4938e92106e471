/**
 * Text that a language model makes up, many windows at once: what a smaller model can learn from where there is
 * little data, and what can be calibrated on where there is none. Windows begin by turns with a few tokens of the data,
 * with the token that texts begin with, and with any token (Liu et al., LLM-QAT, 2023, section 3.1; Williams et
 * al., "Self-calibration for Language Model Quantization and Pruning", 2024), so that what the data never speak of
 * comes up as well.
 */
import { type Batch, makeTokenBatch } from '../data/batch.js'
import { generator } from '../data/generator.js'
import { portsOf } from '../data/open-data.js'
import { AttncError } from '../errors.js'
import type { LoadedModel } from '../model-folder/load.js'
import type { RunOptions } from '../runtime/batches.js'
import { materialise } from '../runtime/materialise.js'
import { openDecoder } from './decoder.js'
import { noiseSize } from './draw.js'
import { type Drawing, prepareDrawing, prepareFixedDrawing } from './drawing.js'
import { findStart } from './start-token.js'
import { assertAsWhole, placesToCompare } from './whole-text.js'

export interface ReciteOptions extends RunOptions {
  /** Its folder may hold a model with a cache: without one this takes long. */
  readonly source: LoadedModel
  readonly windows: number
  /** Tokens of a window. */
  readonly length: number
  /** Windows of a batch of what is returned. */
  readonly batchSize: number
  /** What some windows begin with a few tokens of. */
  readonly texts?: readonly (readonly number[])[] | undefined
  /** Tokens there are, where that is known. */
  readonly vocabulary: number | undefined
  readonly seed: number
  /**
   * At which tokens are drawn, by turns. Default 1: all that the model may say, as it saw it itself. Cooler is what it mostly
   * says, where it wanders off into noise.
   */
  readonly temperatures?: readonly number[] | undefined
  /** Only this file, though its folder has one with a cache. */
  readonly single?: boolean | undefined
  /** Whether caches stay in their place where the model allows it (`fixCache`). Default: on a GPU. */
  readonly fixesCache?: boolean | undefined
}

/** Tokens of the data that a window begins with. */
const prompt = 4

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

/** All windows, and a few more where they come by batches. Error: CACHE_IN_PLACE where a fixed cache doesn't say what the model says. */
async function say(options: ReciteOptions, drawing: Drawing): Promise<number[][]> {
  const { windows, length, seed, log, signal } = options
  const { ports, rows: size, isFixed } = drawing
  const ways = beginnings(options)
  const { temperatures = [1] } = options
  const said: number[][] = []
  const file = materialise(drawing.model)
  try {
    await using decoder = await openDecoder({ ...options, ports, path: file.path, isFixed })
    while (said.length < windows) {
      const places = Array.from({ length: size }, (_, row) => said.length + row)
      // Each by chance of its own: what it says is the same however many run together.
      const chances = places.map((place) => chanceOf(seed, place))
      const given = chances.map((chance, row) => byTurns(ways, said.length + row)(chance))
      // Every way to begin comes with every temperature.
      const heats = places.map((place) => byTurns(temperatures, Math.floor(place / ways.length)))
      const rows = given.map(([first = 0]) => [first])
      const compared = isFixed && said.length === 0 ? placesToCompare(length) : []
      const scores = new Map<number, Float32Array>()
      decoder.restart()
      while ((rows[0]?.length ?? length) < length) {
        signal?.throwIfAborted()
        const { tokens, firstScores } = await decoder.drawOfAll(
          rows.map((row) => row.slice(-1)),
          chances.map((chance) => Math.floor(chance() * noiseSize)),
          heats,
        )
        const place = (rows[0]?.length ?? 0) - 1
        if (firstScores && compared.includes(place)) scores.set(place, firstScores)
        // A beginning goes on as it was given, whatever the model would say there.
        for (const [row, ids] of rows.entries())
          ids.push(given[row]?.[ids.length] ?? (tokens[row] as number))
        const done = said.length + (size * (rows[0]?.length ?? 0)) / length
        log.progress('reciting', Math.min(done, windows), windows)
      }
      const [first = []] = rows
      if (scores.size > 0) await assertAsWhole(options, first, scores)
      said.push(...rows)
    }
  } finally {
    file.dispose()
  }
  return said
}

/** By turns. */
const byTurns = <T>(ways: readonly T[], turn: number): T => ways[turn % ways.length] as T

type Chance = () => number

const chanceOf = (seed: number, window: number): Chance =>
  generator(Math.floor(generator(seed)() * 2 ** 32) + window)

/** The ways there are for a window to begin; at least one. */
function beginnings({
  source,
  texts = [],
  vocabulary,
}: ReciteOptions): readonly ((chance: Chance) => readonly number[])[] {
  const start = findStart(source.folder)
  const ways = [
    ...(texts.length > 0 ? [(chance: Chance) => drawPrompt(texts, chance)] : []),
    ...(start !== undefined && start < (vocabulary ?? Number.POSITIVE_INFINITY)
      ? [() => [start]]
      : []),
    ...(vocabulary ? [(chance: Chance) => [Math.floor(chance() * vocabulary)]] : []),
  ]
  return ways.length > 0 ? ways : [() => [0]]
}

/** A few tokens from anywhere in a text. */
function drawPrompt(
  texts: readonly (readonly number[])[],
  random: () => number,
): readonly number[] {
  const text = texts[Math.floor(random() * texts.length)] ?? []
  const from = Math.floor(random() * Math.max(text.length - prompt, 1))
  return text.slice(from, from + prompt)
}
