/**
 * Text by a language model, many windows at once: what a smaller model can learn from where there is
 * little data. Every other window continues a few tokens of the data, the rest one token of the vocabulary (Liu et al.,
 * LLM-QAT, 2023, section 3.1), so that what the data never speak of isn't forgotten; all drawn by the model's
 * own probabilities.
 */
import { type Batch, makeTokenBatch } from '../data/batch.js'
import { generator } from '../data/generator.js'
import { portsOf } from '../data/open-data.js'
import { type LoadedModel, loadFrom } from '../model-folder/load.js'
import type { RunOptions } from '../runtime/batches.js'
import { materialise } from '../runtime/materialise.js'
import { chooseGenerator } from './choose-model.js'
import { openDecoder } from './decoder.js'
import { drawInGraph, noiseSize } from './draw.js'
import { readLanguagePorts } from './language-ports.js'

export interface ReciteOptions extends RunOptions {
  /** Its folder may hold a model with a cache: without one this takes long. */
  readonly source: LoadedModel
  /** Where windows begin, how long they are, and how many there are in a batch. */
  readonly batches: readonly Batch[]
  readonly windows: number
  readonly seed: number
  /** Tokens there are; where that is not known, all windows continue the data. */
  readonly vocabulary: number | undefined
  /** Only this file, though its folder has one with a cache. */
  readonly single?: boolean | undefined
}

/** Tokens of the data that a window begins with. */
const prompt = 4
/** Windows that run together: a GPU has as much to do with few. */
const together = { cpu: 16, gpu: 128 }

/** Windows of the same length as those of `batches`, as inputs of `source`. Errors: those of ports and sessions. */
export async function recite(options: ReciteOptions): Promise<Batch[]> {
  const { source, batches, windows, seed, single, vocabulary, log, signal } = options
  const texts = batches.flatMap(({ ids }) => ids)
  const length = texts.reduce((longest, ids) => Math.max(longest, ids.length), 0)
  const { location, file } = chooseGenerator(source, single === true)
  const { model } = loadFrom(location, file)
  const ports = readLanguagePorts(model)
  const [fixed] = ports.ids.dims
  const most = together[(options.provider ?? 'cpu') === 'cpu' ? 'cpu' : 'gpu']
  const size = typeof fixed === 'number' ? fixed : Math.min(most, windows)
  const random = generator(seed)
  drawInGraph(model, ports, seed)
  const drawing = materialise(model)
  const said: number[][] = []
  try {
    await using decoder = await openDecoder({ ...options, ports, path: drawing.path })
    while (said.length < windows) {
      const beginnings = Array.from({ length: size }, (_, row) =>
        vocabulary && row % 2 ? [Math.floor(random() * vocabulary)] : drawPrompt(texts, random),
      )
      const rows = beginnings.map(([first = 0]) => [first])
      decoder.restart()
      while ((rows[0]?.length ?? length) < length) {
        signal?.throwIfAborted()
        const drawn = await decoder.drawOfAll(
          rows.map((row) => row.slice(-1)),
          rows.map(() => Math.floor(random() * noiseSize)),
        )
        // A beginning goes on as it was given, whatever the model would say there.
        for (const [row, ids] of rows.entries())
          ids.push(beginnings[row]?.[ids.length] ?? (drawn[row] as number))
        log.progress('reciting', said.length + (size * (rows[0]?.length ?? 0)) / length, windows)
      }
      said.push(...rows)
    }
  } finally {
    drawing.dispose()
  }
  const inputs = portsOf(source.model)
  const perBatch = Math.max(batches[0]?.ids.length ?? 1, 1)
  const taken = said.slice(0, windows)
  return Array.from({ length: Math.ceil(windows / perBatch) }, (_, index) =>
    makeTokenBatch(taken.slice(index * perBatch, (index + 1) * perBatch), inputs),
  )
}

/** A few tokens from anywhere in a text. */
function drawPrompt(texts: readonly (readonly number[])[], random: () => number): number[] {
  const text = texts[Math.floor(random() * texts.length)] ?? []
  const from = Math.floor(random() * Math.max(text.length - prompt, 1))
  return text.slice(from, from + prompt)
}
