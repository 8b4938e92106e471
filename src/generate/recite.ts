/**
 * Text by a language model, many windows at once: what a smaller model can learn from where there is
 * little data. Each window continues a few tokens of the data, drawn by the model's own probabilities.
 */
import { type Batch, makeTokenBatch } from '../data/batch.js'
import { generator } from '../data/generator.js'
import { portsOf } from '../data/open-data.js'
import type { LoadedModel } from '../model-folder/load.js'
import type { RunOptions } from '../runtime/batches.js'
import { chooseGenerator } from './choose-model.js'
import { openDecoder } from './decoder.js'
import { readLanguagePorts } from './language-ports.js'
import { makeSampler } from './sample.js'

export interface ReciteOptions extends RunOptions {
  /** Its folder may hold a model with a cache: without one this takes long. */
  readonly source: LoadedModel
  /** Where windows begin, how long they are, and how many there are in a batch. */
  readonly batches: readonly Batch[]
  readonly windows: number
  readonly seed: number
  /** Only this file, though its folder has one with a cache. */
  readonly single?: boolean | undefined
}

/** Tokens of the data that a window begins with. */
const prompt = 4
/** Windows that run together. */
const together = 16

/** Windows of the same length as those of `batches`, as inputs of `source`. Errors: those of ports and sessions. */
export async function recite(options: ReciteOptions): Promise<Batch[]> {
  const { source, batches, windows, seed, single, log, signal } = options
  const texts = batches.flatMap(({ ids }) => ids)
  const length = texts.reduce((longest, ids) => Math.max(longest, ids.length), 0)
  const chosen = chooseGenerator(source, single === true)
  const ports = readLanguagePorts(chosen.model)
  const [fixed] = ports.ids.dims
  const size = typeof fixed === 'number' ? fixed : Math.min(together, windows)
  const random = generator(seed)
  const sampler = makeSampler({ temperature: 1, seed })
  await using decoder = await openDecoder({ ...options, ports, path: chosen.path })
  const said: number[][] = []
  while (said.length < windows) {
    const rows = Array.from({ length: size }, () => drawPrompt(texts, random))
    decoder.restart()
    let fed: readonly (readonly number[])[] = rows.map((row) => [...row])
    while ((rows[0]?.length ?? length) < length) {
      signal?.throwIfAborted()
      const scores = await decoder.nextOfAll(fed)
      fed = scores.map((each) => [sampler(each)])
      for (const [row, [token]] of fed.entries()) rows[row]?.push(token as number)
      log.progress('reciting', said.length + (size * (rows[0]?.length ?? 0)) / length, windows)
    }
    said.push(...rows)
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
