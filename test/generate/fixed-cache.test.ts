/** A cache that never moves: the same scores as of one that grows, whatever wrote it, or none at all. */
import { describe, expect, it } from 'vitest'
import { openDecoder } from '../../src/generate/decoder.js'
import { fixCache } from '../../src/generate/fixed-cache.js'
import { type LanguagePorts, readLanguagePorts } from '../../src/generate/language-ports.js'
import { edit } from '../../src/graph/edit.js'
import type { Model } from '../../src/graph/graph.js'
import { loadModel } from '../../src/model-folder/load.js'
import { lighten } from '../../src/rewrite/lighten.js'
import { materialise } from '../../src/runtime/materialise.js'
import { findAddon } from '../../src/runtime/native/library.js'
import { sharedModel } from '../shared-models.js'
import { cachedDecoder } from './cached-decoder.js'

const isBuilt = findAddon() !== undefined
const texts = [
  [3, 14, 15, 9, 2, 6],
  [2, 7, 1, 8, 2, 8],
]

/** Scores after each token of `texts`, fed one by one; twice, as a second text begins where the first one ended. */
async function scoresOf(model: Model, ports: LanguagePorts, isFixed: boolean): Promise<number[]> {
  const file = materialise(model)
  try {
    await using decoder = await openDecoder({ ports, path: file.path, threads: 1, isFixed })
    const scores: number[] = []
    for (const order of [texts, texts.toReversed()]) {
      decoder.restart()
      for (const at of texts[0]?.keys() ?? [])
        for (const row of await decoder.nextOfAll(order.map((ids) => [ids[at] as number])))
          scores.push(...row)
    }
    return scores
  } finally {
    file.dispose()
  }
}

/** The same scores as of the model as it was; undefined where its cache is left alone. */
async function difference(model: Model): Promise<number | undefined> {
  edit(model.graph, 'light', lighten)
  const ports = readLanguagePorts(model)
  const grown = await scoresOf(model, ports, false)
  const fixed = fixCache(model, ports, { rows: 2, length: 8 })
  if (!fixed) return undefined
  const scores = await scoresOf(model, fixed, true)
  const size = Math.max(...grown.map(Math.abs))
  return Math.max(...grown.map((each, at) => Math.abs(each - (scores[at] as number)))) / size
}

const cases = [
  ['zoo/gpt2-past-dyn', true],
  ['zoo/gpt2-past-ts', true],
  ['tiny-stories/model_with_past.onnx', true],
  // Heads of 12 numbers, which ONNX Runtime's operator does not take.
  ['zoo/llama-past-ts', false],
  ['zoo/gemma2-past-dyn', false],
  // The operator is there already.
  ['zoo/llama-gqa', true],
  ['zoo/llama-gqa-packed', true],
  ['zoo/llama-gqa-nbits', true],
  // Attention is another operator.
  ['zoo/llama-past-op23', false],
  ['zoo/llama-past-fused', false],
] as const
const there = cases.flatMap(([name, isFixed]) => {
  const path = sharedModel(name)
  return path ? [[path, isFixed] as const] : []
})

describe.runIf(isBuilt)('a cache in its place', () => {
  it('says the same scores', async () => {
    expect(await difference(cachedDecoder())).toBeLessThan(1e-5)
  })

  it.each(there)('says the same scores, %s', async (path, isFixed) => {
    const found = await difference(loadModel(path).model)
    if (isFixed) expect(found).toBeLessThan(1e-5)
    else expect(found).toBeUndefined()
  })
})
