/** A cache in half precision: the same scores but for rounding, whatever wrote the cache. */
import { describe, expect, it } from 'vitest'
import { openDecoder } from '../../src/generate/decoder.js'
import { halveStates } from '../../src/generate/half-states.js'
import { readLanguagePorts } from '../../src/generate/language-ports.js'
import { loadModel } from '../../src/model-folder/load.js'
import { materialise } from '../../src/runtime/materialise.js'
import { sharedModel } from '../shared-models.js'

const texts = [
  [3, 14, 15, 9],
  [2, 7, 1, 8],
]

/** Scores after each token of `texts`, fed one by one. */
async function scoresOf(path: string, isHalf: boolean) {
  const { model } = loadModel(path)
  const single = readLanguagePorts(model)
  const ports = isHalf ? halveStates(model, single) : single
  const file = materialise(model)
  try {
    await using decoder = await openDecoder({ ports, path: file.path, threads: 1 })
    const scores: number[] = []
    for (const at of [0, 1, 2, 3])
      for (const row of await decoder.nextOfAll(texts.map((ids) => [ids[at] as number])))
        scores.push(...row)
    return { scores, types: ports.states.map(({ dataType }) => dataType) }
  } finally {
    file.dispose()
  }
}

const paths = [
  'zoo/llama-past-ts',
  'zoo/llama-past-op23',
  'zoo/llama-past-fused',
  'zoo/gemma2-past-dyn',
  'zoo/gpt2-past-ts',
  'tiny-stories/model_with_past.onnx',
].flatMap((name) => sharedModel(name) ?? [])

describe.runIf(paths.length > 0)('states in half precision', () => {
  it.each(paths)('say the same scores, %s', async (path) => {
    const single = await scoresOf(path, false)
    const half = await scoresOf(path, true)
    expect(new Set(half.types)).toEqual(new Set(['float16']))
    const size = Math.max(...single.scores.map(Math.abs))
    const worst = Math.max(
      ...single.scores.map((each, at) => Math.abs(each - (half.scores[at] as number))),
    )
    expect(worst / size).toBeLessThan(0.02)
    expect(worst).toBeGreaterThan(0)
  })
})
