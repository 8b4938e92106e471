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
import { type LoadedModel, loadFrom } from '../model-folder/load.js'
import type { RunOptions } from '../runtime/batches.js'
import { materialise } from '../runtime/materialise.js'
import { chooseGenerator } from './choose-model.js'
import { openDecoder } from './decoder.js'
import { drawInGraph, noiseSize } from './draw.js'
import { readHostConfig } from './host-config.js'
import { readLanguagePorts } from './language-ports.js'

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
  /** Only this file, though its folder has one with a cache. */
  readonly single?: boolean | undefined
}

/** Tokens of the data that a window begins with. */
const prompt = 4
/** Windows that run together: a GPU has as much to do with few. */
const together = { cpu: 16, gpu: 128 }

/** Windows of `length` tokens as inputs of `source`. Errors: ENCODER_TEXT, those of ports, configs and sessions. */
export async function recite(options: ReciteOptions): Promise<Batch[]> {
  const { source, windows, length, batchSize, seed, single, log, signal } = options
  const { location, file } = chooseGenerator(source, single === true)
  const { model } = loadFrom(location, file)
  const ports = readLanguagePorts(model)
  if (ports.encoderIds)
    throw new AttncError(
      'ENCODER_TEXT',
      'usage',
      'A model with an encoder answers to texts and makes up none by itself.',
      { suggestions: ['Give data: .txt or .jsonl.'] },
    )
  const [fixed] = ports.ids.dims
  const most = together[(options.provider ?? 'cpu') === 'cpu' ? 'cpu' : 'gpu']
  const size = typeof fixed === 'number' ? fixed : Math.min(most, windows)
  const random = generator(seed)
  const begin = beginnings(options, random)
  drawInGraph(model, ports, seed)
  const drawing = materialise(model)
  const said: number[][] = []
  try {
    await using decoder = await openDecoder({ ...options, ports, path: drawing.path })
    while (said.length < windows) {
      const given = Array.from({ length: size }, (_, row) => begin(said.length + row))
      const rows = given.map(([first = 0]) => [first])
      decoder.restart()
      while ((rows[0]?.length ?? length) < length) {
        signal?.throwIfAborted()
        const drawn = await decoder.drawOfAll(
          rows.map((row) => row.slice(-1)),
          rows.map(() => Math.floor(random() * noiseSize)),
        )
        // A beginning goes on as it was given, whatever the model would say there.
        for (const [row, ids] of rows.entries())
          ids.push(given[row]?.[ids.length] ?? (drawn[row] as number))
        log.progress('reciting', said.length + (size * (rows[0]?.length ?? 0)) / length, windows)
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

/** What each window begins with, the ways there are by turns. */
function beginnings(
  { source, texts = [], vocabulary }: ReciteOptions,
  random: () => number,
): (window: number) => readonly number[] {
  const { start } = readHostConfig(source.folder)
  const ways = [
    ...(texts.length > 0 ? [() => drawPrompt(texts, random)] : []),
    ...(start !== undefined && start < (vocabulary ?? Number.POSITIVE_INFINITY)
      ? [() => [start]]
      : []),
    ...(vocabulary ? [() => [Math.floor(random() * vocabulary)]] : []),
  ]
  return (window) => ways[window % ways.length]?.() ?? [0]
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
