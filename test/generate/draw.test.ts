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

const names = ['zoo/llama-past-ts', 'zoo/llama-past-op23', 'zoo/gpt2-past-dyn']

describe.each(names.flatMap((name) => [1, 0.6].map((temperature) => [name, temperature] as const)))(
  '%s at temperature %s',
  (name, temperature) => {
    const path = sharedModel(name)
    test.skipIf(!path)('draws each token as often as its softmax says', async () => {
      const { model, path: file } = loadModel(path as string)
      const ports = readLanguagePorts(model)
      const prompt = [3, 1, 4]
      const random = generator(11)
      await using plain = await openDecoder({ ports, path: file, threads: 1 })
      const scores = Array.from(await plain.next(prompt))
      const expected = softmax(scores.map((each) => each / temperature))
      drawInGraph(model, ports, 7)
      const drawing = materialise(model)
      try {
        await using decoder = await openDecoder({ ports, path: drawing.path, threads: 1 })
        const counts = new Float64Array(expected.length)
        for (let round = 0; round < rounds; round++) {
          decoder.restart()
          const prompts = Array.from({ length: rows }, () => prompt)
          const from = prompts.map(() => Math.floor(random() * noiseSize))
          const { tokens: drawn } = await decoder.drawOfAll(
            prompts,
            from,
            prompts.map(() => temperature),
          )
          for (const token of drawn) counts[token] = (counts[token] ?? 0) + 1
        }
        const total = rows * rounds
        const cells = [[0, 0] as [number, number]]
        for (const [token, share] of expected.entries()) {
          // Tokens that are too rare for a cell of their own share the first.
          const cell =
            share * total >= 5 ? ([0, 0] as [number, number]) : (cells[0] as [number, number])
          cell[0] += share * total
          cell[1] += counts[token] ?? 0
          if (cell !== cells[0]) cells.push(cell)
        }
        // Pearson's statistic over n cells has the mean n − 1 and the variance 2·(n − 1).
        const used = cells.filter(([wanted]) => wanted >= 5)
        const statistic = used.reduce(
          (sum, [wanted, found]) => sum + (found - wanted) ** 2 / wanted,
          0,
        )
        const freedom = used.length - 1
        expect(freedom).toBeGreaterThan(5)
        expect(statistic).toBeLessThan(freedom + 5 * Math.sqrt(2 * freedom))
        expect(statistic).toBeGreaterThan(freedom - 5 * Math.sqrt(2 * freedom))
      } finally {
        drawing.dispose()
      }
    })
  },
)

function softmax(scores: ArrayLike<number>): number[] {
  const all = Array.from(scores)
  const top = Math.max(...all)
  const weights = all.map((score) => Math.exp(score - top))
  const sum = weights.reduce((a, b) => a + b, 0)
  return weights.map((weight) => weight / sum)
}
