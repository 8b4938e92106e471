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
import { edit } from '../graph/edit.js'
import { type LoadedModel, loadFrom } from '../model-folder/load.js'
import { bitsPerElement } from '../onnx/data-type.js'
import { elementCount } from '../onnx/tensor.js'
import { lighten } from '../rewrite/lighten.js'
import type { RunOptions } from '../runtime/batches.js'
import { roomOf } from '../runtime/free-memory.js'
import { materialise } from '../runtime/materialise.js'
import { chooseGenerator } from './choose-model.js'
import { openDecoder } from './decoder.js'
import { drawInGraph, noiseSize } from './draw.js'
import { halveStates } from './half-states.js'
import { type LanguagePorts, readLanguagePorts } from './language-ports.js'
import { findStart } from './start-token.js'

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
}

/** Tokens of the data that a window begins with. */
const prompt = 4
/** Windows that run together at most: a processor gains nothing by more, a GPU has as much to do with few. */
const together = { cpu: 16, gpu: 2048 }
/** A cache is there before and after a step, and an exported graph repeats and turns it in between. */
const copiesOfCache = 4

/** Windows of `length` tokens as inputs of `source`. Errors: ENCODER_TEXT, those of ports, configs and sessions. */
export async function recite(options: ReciteOptions): Promise<Batch[]> {
  const { source, windows, length, batchSize, seed, log, signal } = options
  const { location, file } = chooseGenerator(source, options.single === true)
  const { model } = loadFrom(location, file)
  const single = readLanguagePorts(model)
  if (single.encoderIds)
    throw new AttncError(
      'ENCODER_TEXT',
      'usage',
      'A model with an encoder answers to texts and makes up none by itself.',
      { suggestions: ['Give data: .txt or .jsonl.'] },
    )
  const ways = beginnings(options)
  const { temperatures = [1] } = options
  edit(model.graph, 'attnc.lighten', lighten)
  const ports = options.provider === 'cuda' ? halveStates(model, single) : single
  drawInGraph(model, ports, seed)
  const [fixed] = ports.ids.dims
  const size = typeof fixed === 'number' ? fixed : windowsTogether(options, ports)
  const drawing = materialise(model)
  const said: number[][] = []
  try {
    await using decoder = await openDecoder({ ...options, ports, path: drawing.path })
    while (said.length < windows) {
      const places = Array.from({ length: size }, (_, row) => said.length + row)
      // Each by chance of its own: what it says is the same however many run together.
      const chances = places.map((place) => chanceOf(seed, place))
      const given = chances.map((chance, row) => byTurns(ways, said.length + row)(chance))
      // Every way to begin comes with every temperature.
      const heats = places.map((place) => byTurns(temperatures, Math.floor(place / ways.length)))
      const rows = given.map(([first = 0]) => [first])
      decoder.restart()
      while ((rows[0]?.length ?? length) < length) {
        signal?.throwIfAborted()
        const drawn = await decoder.drawOfAll(
          rows.map((row) => row.slice(-1)),
          chances.map((chance) => Math.floor(chance() * noiseSize)),
          heats,
        )
        // A beginning goes on as it was given, whatever the model would say there.
        for (const [row, ids] of rows.entries())
          ids.push(given[row]?.[ids.length] ?? (drawn[row] as number))
        const done = said.length + (size * (rows[0]?.length ?? 0)) / length
        log.progress('reciting', Math.min(done, windows), windows)
      }
      said.push(...rows)
    }
  } finally {
    drawing.dispose()
  }
  const inputs = portsOf(source.model)
  const taken = said.slice(0, windows)
  return Array.from({ length: Math.ceil(windows / batchSize) }, (_, index) =>
    makeTokenBatch(taken.slice(index * batchSize, (index + 1) * batchSize), inputs),
  )
}

/** As many as there is room for the caches of. */
function windowsTogether(
  { windows, length, provider = 'cpu', vocabulary = 0 }: ReciteOptions,
  { states }: LanguagePorts,
): number {
  const most = Math.min(windows, together[provider === 'cpu' ? 'cpu' : 'gpu'])
  const room = provider === 'cpu' ? undefined : roomOf(provider, undefined)
  if (!room) return most
  const cache = states.reduce((sum, { dataType, dims }) => {
    const each = dims.map((dim, axis) => (typeof dim === 'number' ? dim : axis === 0 ? 1 : length))
    return sum + (elementCount(each) * bitsPerElement(dataType)) / 8
  }, 0)
  const scores = 4 * vocabulary * Float32Array.BYTES_PER_ELEMENT
  const fitting = Math.max(1, Math.floor(room.bytes / (copiesOfCache * cache + scores)))
  const rounds = Math.ceil(windows / Math.min(most, fitting))
  return Math.ceil(windows / rounds)
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
