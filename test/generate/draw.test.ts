/** Tokens drawn inside a graph come by the probabilities that the graph says, whatever its opset. */
import { describe, expect, test } from 'vitest'
import { generator } from '../../src/data/generator.js'
import { openDecoder } from '../../src/generate/decoder.js'
import { drawInGraph, noiseSize } from '../../src/generate/draw.js'
import { readLanguagePorts } from '../../src/generate/language-ports.js'
import { loadModel } from '../../src/model-folder/load.js'
import { materialise } from '../../src/runtime/materialise.js'
import { sharedModel } from '../shared-models.js'

const rows = 512
const rounds = 8

describe.each(['zoo/llama-past-ts', 'zoo/llama-past-op23', 'zoo/gpt2-past-dyn'])('%s', (name) => {
  const path = sharedModel(name)
  test.skipIf(!path)('draws each token as often as its softmax says', async () => {
    const { model, path: file } = loadModel(path as string)
    const ports = readLanguagePorts(model)
    const prompt = [3, 1, 4]
    const random = generator(11)
    await using plain = await openDecoder({ ports, path: file, threads: 1 })
    const expected = softmax(await plain.next(prompt))
    drawInGraph(model, ports, 7)
    const drawing = materialise(model)
    try {
      await using decoder = await openDecoder({ ports, path: drawing.path, threads: 1 })
      const counts = new Float64Array(expected.length)
      for (let round = 0; round < rounds; round++) {
        decoder.restart()
        const prompts = Array.from({ length: rows }, () => prompt)
        const from = prompts.map(() => Math.floor(random() * noiseSize))
        const drawn = await decoder.drawOfAll(prompts, from)
        for (const token of drawn) counts[token] = (counts[token] ?? 0) + 1
      }
      // Pearson's statistic over n tokens has the mean n − 1 and the variance 2·(n − 1).
      const total = rows * rounds
      const statistic = expected.reduce(
        (sum, share, token) => sum + ((counts[token] ?? 0) - share * total) ** 2 / (share * total),
        0,
      )
      const freedom = expected.length - 1
      expect(statistic).toBeLessThan(freedom + 5 * Math.sqrt(2 * freedom))
      expect(statistic).toBeGreaterThan(freedom - 5 * Math.sqrt(2 * freedom))
    } finally {
      drawing.dispose()
    }
  })
})

function softmax(scores: ArrayLike<number>): number[] {
  const all = Array.from(scores)
  const top = Math.max(...all)
  const weights = all.map((score) => Math.exp(score - top))
  const sum = weights.reduce((a, b) => a + b, 0)
  return weights.map((weight) => weight / sum)
}
