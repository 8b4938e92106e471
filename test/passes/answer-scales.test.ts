/** What errors of blocks do to the answers: as said by running the original and what is tried beside each other. */
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { measureScales } from '../../passes/amp/answer-scales.js'
import { ampDefaults } from '../../passes/amp/options.js'
import { rankChoices } from '../../passes/amp/rank.js'
import { calibrate } from '../../src/calibrate/calibrate.js'
import { openData } from '../../src/data/open-data.js'
import { edit } from '../../src/graph/edit.js'
import type { Model, Value } from '../../src/graph/graph.js'
import { plainProducts } from '../../src/linear-algebra/products.js'
import { silentLog } from '../../src/log.js'
import { readModel } from '../../src/model/model.js'
import { toWeight } from '../../src/model/projection.js'
import { loadModel } from '../../src/model-folder/load.js'
import { findPrunable, type PrunableBlock } from '../../src/repair/prunable.js'
import { refitBlock } from '../../src/repair/refit.js'
import { runBatches } from '../../src/runtime/batches.js'
import { example } from '../commands/run-command.js'

const source = loadModel(join(example, 'model.onnx'))
const view = readModel(source.model.graph)
const blocks = findPrunable(view)
const batches = openData(join(example, 'calibration.txt'), {
  model: source.model,
  folder: source.folder,
  sequenceLength: 32,
  batchSize: 2,
  samples: 4,
})
const options = { ...ampDefaults, ratio: 0.9 }
const log = silentLog
const products = plainProducts

async function prepare() {
  const calibration = await calibrate(source.model, { batches, moments: true, log })
  const help = { metrics: new Map(), scores: new Map(), products, log }
  const rankings = await rankChoices(blocks, calibration, options, help)
  return { calibration, rankings }
}

/** log softmax of every token that has a next one in the first row of each batch, which is what is tried. */
async function answersOf(model: Model): Promise<number[][]> {
  const rows: number[][] = []
  await runBatches(model, batches, { log }, undefined, (results) => {
    const { data, dims } = results['logits'] ?? { data: new Float32Array(), dims: [] }
    const [, length = 0, width = 0] = dims
    for (let i = 0; i + 1 < length; i++) {
      const row = Array.from(data.slice(i * width, (i + 1) * width) as Float32Array)
      const most = Math.max(...row)
      const norm = most + Math.log(row.reduce((sum, each) => sum + Math.exp(each - most), 0))
      rows.push(row.map((each) => each - norm))
    }
  })
  return rows
}

/** KL(original ‖ model), the mean over tokens. */
const divergence = (original: readonly number[][], other: readonly number[][]): number =>
  original.reduce(
    (sum, row, token) =>
      sum + row.reduce((s, p, i) => s + Math.exp(p) * (p - (other[token]?.[i] ?? 0)), 0),
    0,
  ) / original.length

describe('what errors do to the answers', () => {
  it('is the divergence of what is tried from the original, whatever lies before the block', async () => {
    const { calibration, rankings } = await prepare()
    const input = { model: source.model, calibration, batches, log }
    const scales = await measureScales(input, blocks, rankings, { products, ridge: options.ridge })
    expect([...(scales ?? [])].map(([key]) => key)).toEqual(blocks.map(({ key }) => key))
    const original = await answersOf(loadModel(source.path).model)
    for (const block of [blocks[0], blocks[3], blocks.at(-1)] as PrunableBlock[]) {
      const [choice] = block.choices
      const ranking = choice && rankings.get(choice)
      const statistics = calibration.get(block.key)
      if (!choice || !ranking || !statistics?.moments || !block.projection) throw new Error('none')
      const count = Math.max(1, Math.floor(ranking.errors.length / 2))
      const fitted = await refitBlock(
        block,
        { ...statistics, moments: statistics.moments, missing: undefined, means: undefined },
        {
          ...{ counts: new Map([[choice, count]]), ridge: options.ridge, fixed: rankings },
          ...{ gone: [], products, metric: undefined },
        },
      )
      const { model } = loadModel(source.path)
      const name = block.projection.weight.name
      const weight = toWeight(block.projection, fitted?.weight ?? new Float64Array())
      edit(model.graph, 'test', (change) =>
        change.setConstant(model.graph.values.get(name) as Value, weight),
      )
      const found = divergence(original, await answersOf(model))
      const said = (scales?.get(block.key) ?? 0) * (ranking.errors[count - 1] ?? 0)
      expect(found).toBeGreaterThan(1e-4)
      expect(said / found).toBeCloseTo(1, 2)
    }
  }, 120_000)

  it('can’t be said without answers to compare, and the log says so', async () => {
    const { calibration, rankings } = await prepare()
    const { model } = loadModel(source.path)
    edit(model.graph, 'test', (change) => {
      for (const each of [...model.graph.outputs]) change.hide(each)
      const ids = model.graph.inputs[0] as Value
      change.expose(change.add('Identity', [ids]))
    })
    const said: string[] = []
    const input = {
      ...{ model, calibration, batches },
      log: { ...log, info: (text: string) => said.push(text) },
    }
    const scales = await measureScales(input, blocks, rankings, { products, ridge: 1 })
    expect(scales).toBeUndefined()
    expect(said.join()).toMatch(/size of their errors: There is nothing to train for/)
  })
})
