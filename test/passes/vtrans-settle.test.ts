/** What comes after the choice: means on top of the re-fit, and made-up text. */
import { existsSync } from 'node:fs'
import { describe, expect, it, test } from 'vitest'
import { decideSelected } from '../../passes/vtrans/decide.js'
import { vtrans } from '../../passes/vtrans/index.js'
import { learnMasks } from '../../passes/vtrans/learn.js'
import { vtransDefaults } from '../../passes/vtrans/options.js'
import { settleMeans } from '../../passes/vtrans/settle.js'
import { openData, portsOf } from '../../src/data/open-data.js'
import { randomBatches } from '../../src/data/random.js'
import { evaluate } from '../../src/evaluate/evaluate.js'
import type { Value } from '../../src/graph/graph.js'
import { silentLog } from '../../src/log.js'
import { readModel } from '../../src/model/model.js'
import { loadModel } from '../../src/model-folder/load.js'
import { applyPart } from '../../src/plan/apply.js'
import type { PlanPart } from '../../src/plan/plan.js'
import { decidePlan } from '../../src/prune/decide.js'
import { build } from '../axes/builder.js'
import { sharedModel } from '../shared-models.js'
import { difference, runModel } from '../zoo/compare.js'

const stories = '../shared/models/tiny-stories'
const hasStories = existsSync(`${stories}/model_with_past.onnx`)
if (!hasStories) process.stdout.write(`Means on top are skipped: there is no ${stories}\n`)

describe.skipIf(!hasStories)('means on top of a re-fit', () => {
  it('change nothing at a rate of 0, make held-out text likelier else, and slice to what they mask', async () => {
    const source = loadModel(stories)
    const read = (file: string, samples: number) =>
      openData(`${stories}/${file}`, {
        model: source.model,
        folder: stories,
        sequenceLength: 64,
        batchSize: 16,
        samples,
        textMode: 'paragraphs',
        startToken: 0,
      })
    const batches = read('calibration.txt', 64)
    const view = readModel(source.model.graph)
    const run = { log: silentLog, threads: 1 }
    const input = { ...run, model: source.model, view, batches }
    const options = { ...vtransDefaults, ratio: 0.5, updates: 40, batchSize: 4, settle: 0 }
    const learned = await learnMasks({ ...input, batches }, options)
    const before = await decideSelected(input, learned, options)
    expect(before.projections.some(({ reads }) => reads)).toBe(true)
    const still = { ...options, settle: 0.05, settlingRate: 0 }
    const same = await settleMeans(input, before, still)
    // Blocks before the first that loses anything were not re-fitted; they have means, too.
    expect(same.projections.length).toBeGreaterThanOrEqual(before.projections.length)
    const known = before.projections.map(({ block }) => block)
    const own = same.projections.filter(({ block }) => known.includes(block))
    expect(own).toEqual(before.projections)

    const after = await decideSelected(input, learned, { ...options, settle: 0.5 })
    expect(after.slices).toEqual(before.slices)
    const judges = read('eval.txt', 32)
    const model = (part: PlanPart, as: 'slice' | 'mask' = 'slice') => {
      const { model: own } = loadModel(stories)
      applyPart(own.graph, part, { as })
      return own
    }
    const judge = async (part: PlanPart): Promise<number> => {
      const found = await evaluate(model(part), {
        ...run,
        batches: judges,
        metrics: ['perplexity'],
      })
      return found[0]?.value ?? Number.NaN
    }
    expect(await judge(after)).toBeLessThan(await judge(before))
    const feeds = judges.slice(0, 1).map((batch) => batch.feeds)
    const [sliced] = await runModel(model(after), feeds)
    const [masked] = await runModel(model(after, 'mask'), feeds)
    expect(difference(sliced ?? {}, masked ?? {})).toBeLessThan(1e-5)
  })

  it('are learned on text of the model’s own where data are few, which the plan says', async () => {
    const source = loadModel(stories)
    const batches = openData(`${stories}/calibration.txt`, {
      model: source.model,
      folder: stories,
      sequenceLength: 32,
      batchSize: 8,
      samples: 8,
    })
    const made = async (recite: number | undefined) => {
      const chosen = { ratio: 0.3, updates: 8, batchSize: 8, recite }
      const options = { source, batches, single: false, threads: 1, log: silentLog }
      const { plan } = await decidePlan({ ...options, passes: [vtrans(chosen)] })
      return plan.parts[0]?.findings?.training?.made
    }
    // 8 updates of 8 windows, each seen four times: 16, of which 7 are there beside the one that judges.
    expect(await made(undefined)).toBe(9)
    expect(await made(0)).toBe(0)
  })
})

test('means are learned on a cut model whose cache has fewer heads than the data', async () => {
  const path = sharedModel('zoo/gpt2-past-dyn')
  if (!path) return
  const source = loadModel(path)
  const { graph } = source.model
  const shape = { sequenceLength: 8, batchSize: 4, samples: 8, seed: 1, vocabulary: 32 }
  const batches = randomBatches({ inputs: portsOf(source.model), ...shape })
  const slices = [0, 1].map((layer) => ({
    dimension: `layer.${layer}.keyValueHeads`,
    remove: [layer],
  }))
  const options = { ...vtransDefaults, updates: 40, batchSize: 4, settle: 0.1 }
  const input = { model: source.model, view: readModel(graph), batches, log: silentLog, threads: 1 }
  const { projections } = await settleMeans(input, { slices }, options)
  expect(projections.length).toBeGreaterThan(0)
})

test('means of blocks behind one that keeps a single neuron are called as in the whole model', async () => {
  const [C, S] = [8, 4]
  const make = () =>
    build((b) => {
      const x = b.input('x', ['batch', S, C])
      const layer = (stream: Value, width: number): Value => {
        const wide = b.op('Relu', [b.linear(stream, C, width)])
        return b.op('Add', [stream, b.linear(wide, width, C)])
      }
      const end = layer(layer(layer(x, 2), 12), 16)
      b.declare(end, ['batch', S, C])
      return end
    })
  const model = make()
  const inputs = portsOf(model)
  const size = { sequenceLength: S, batchSize: 4, samples: 16, seed: 1 }
  const batches = randomBatches({ inputs, ...size })
  const view = readModel(model.graph)
  const slices = [
    { dimension: 'layer.0.width', remove: [1] },
    { dimension: 'layer.1.width', remove: [2, 3] },
  ]
  const options = { ...vtransDefaults, updates: 8, settle: 0.5, batchSize: 4 }
  const input = { model, view, batches, log: silentLog, threads: 1 }
  const { projections } = await settleMeans(input, { slices, projections: [] }, options)
  const rows = projections.map(({ block, rows: own }) => [block, own])
  expect(rows).toEqual([
    ['feedForward.1', 10],
    ['feedForward.2', 16],
  ])
  const [sliced, masked] = [make(), make()]
  applyPart(sliced.graph, { slices, projections })
  applyPart(masked.graph, { slices, projections }, { as: 'mask' })
  const feeds = batches.map((each) => each.feeds)
  const [[one], [other]] = [await runModel(sliced, feeds), await runModel(masked, feeds)]
  expect(difference(one ?? {}, other ?? {})).toBeLessThan(1e-5)
})
