/** Published head scores against their definition, on a language model with grouped queries. */
import { expect, it } from 'vitest'
import { measureHeadWrites } from '../../passes/amp/head-writes.js'
import { makeTokenBatch } from '../../src/data/batch.js'
import { portsOf } from '../../src/data/open-data.js'
import { extractSubgraph } from '../../src/graph/extract.js'
import { silentLog } from '../../src/log.js'
import { readModel } from '../../src/model/model.js'
import { loadModel } from '../../src/model-folder/load.js'
import { findPrunable } from '../../src/repair/prunable.js'
import { runBatches } from '../../src/runtime/batches.js'

const size = 32

it('are the mean over prompts of the mean over real tokens of ‖x·W‖₁, groups taking their mean', async () => {
  const { model } = loadModel('examples/tiny-stories')
  const view = readModel(model.graph)
  const blocks = findPrunable(view)
  // Of different lengths: the second is padded.
  const prompts = [
    [0, 5, 9, 300, 41, 17, 8],
    [0, 77, 12],
  ]
  const batches = [
    makeTokenBatch(prompts, portsOf(model)),
    makeTokenBatch([[0, 4]], portsOf(model)),
  ]
  const options = { log: silentLog, threads: 1 }
  const found = await measureHeadWrites(model, view, blocks, batches, options)
  const attention = blocks.filter(({ kind }) => kind === 'attention')
  expect([...found.keys()]).toEqual(attention.map(({ key }) => key))

  const [block] = attention
  const weight = block?.projection?.read() ?? new Float64Array()
  const { width = 0 } = block ?? {}
  const columns = block?.projection?.columns ?? 0
  const written = (x: Float32Array, row: number, head: number): number => {
    let norm = 0
    for (let c = 0; c < columns; c++) {
      let sum = 0
      for (let i = head * size; i < (head + 1) * size; i++)
        sum += (x[row * width + i] as number) * (weight[i * columns + c] as number)
      norm += Math.abs(sum)
    }
    return norm
  }
  const expected = [0, 0, 0]
  const inputs = block ? [block.input] : []
  const part = extractSubgraph(model.graph, new Map(), inputs)
  await runBatches(part, batches, options, undefined, (results, { ids }) => {
    const { data, dims } = results[inputs[0]?.name ?? ''] ?? { data: [], dims: [] }
    for (const [prompt, own] of ids.entries())
      for (const token of own.keys())
        for (const group of expected.keys())
          for (const head of [2 * group, 2 * group + 1])
            expected[group] =
              (expected[group] as number) +
              written(data as Float32Array, prompt * (dims[1] ?? 0) + token, head) /
                own.length /
                2 /
                3
  })
  const scores = found.get(block?.key ?? '') ?? []
  for (const [group, score] of expected.entries()) expect(scores[group]).toBeCloseTo(score, 3)
})
