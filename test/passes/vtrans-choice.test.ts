/** What held-out data decide: how it is chosen what goes, and whether learned means stay. */
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { type Candidate, cutByError, cutByMasks } from '../../passes/vtrans/candidates.js'
import { decideSelected } from '../../passes/vtrans/decide.js'
import { type Cut, lossOf } from '../../passes/vtrans/judge.js'
import { learnMasks } from '../../passes/vtrans/learn.js'
import { type VtransOptions, vtransDefaults } from '../../passes/vtrans/options.js'
import { costOf, operationsOf, type Resource } from '../../passes/vtrans/resource.js'
import { settleMeans } from '../../passes/vtrans/settle.js'
import { chooseSources } from '../../passes/vtrans/text.js'
import type { Batch } from '../../src/data/batch.js'
import { openData } from '../../src/data/open-data.js'
import type { Value } from '../../src/graph/graph.js'
import { silentLog } from '../../src/log.js'
import { readModel } from '../../src/model/model.js'
import { loadModel } from '../../src/model-folder/load.js'
import { applyPart } from '../../src/plan/apply.js'
import { build } from '../axes/builder.js'
import { bytesOf } from '../zoo/compare.js'

const folder = '../shared/models/digits-vit'
const isThere = existsSync(`${folder}/model.onnx`)
if (!isThere) process.stdout.write(`What held-out data decide is skipped: there is no ${folder}\n`)

const rowsOf = (batches: readonly Batch[]): string[] =>
  batches.flatMap(({ feeds }) =>
    Object.values(feeds).flatMap(({ data, dims: [rows = 1] }) =>
      Array.from({ length: rows }, (_, row) =>
        data.slice((row * data.length) / rows, ((row + 1) * data.length) / rows).join(),
      ),
    ),
  )

async function prepare(
  chosen: Partial<VtransOptions>,
  source = loadModel(folder),
  data = `${folder}/calibration.npz`,
) {
  const { model } = source
  const limits = { batchSize: 32, samples: 96 }
  const all = openData(data, { model, folder: source.folder, ...limits })
  const options = { ...vtransDefaults, ratio: 0.4, updates: 8, batchSize: 16, ...chosen }
  const lines: string[] = []
  const log = { ...silentLog, info: (line: string) => void lines.push(line) }
  const context = { source, single: true, view: readModel(model.graph), log, threads: 1 }
  const sources = await chooseSources(context, { batches: all, all }, options)
  const { training, heldOut = [], fitting } = sources
  const input = { ...context, model, batches: fitting, training, heldOut, hasCache: false }
  return { all, sources, options, input, lines }
}

describe.skipIf(!isThere)('held-out data', () => {
  it('are learned from by nothing', async () => {
    const { all, sources, input } = await prepare({})
    const held = rowsOf(input.heldOut)
    expect(held).toHaveLength(10)
    for (const learned of [sources.training, sources.fitting]) {
      expect(rowsOf(learned)).toHaveLength(86)
      expect([...rowsOf(learned), ...held]).toEqual(rowsOf(all))
    }
  })

  it('choose between masks and the error of blocks, once both have their means', async () => {
    const { input, options, lines } = await prepare({})
    const learned = await learnMasks({ ...input, batches: input.training }, options)
    const decided = await decideSelected(input, learned, options)
    const judge = (cut: Cut) => lossOf(input, cut, options)
    const results = await Promise.all(
      [cutByMasks, cutByError].map(async (make) => {
        const cut = (await make(input, learned, options)) as Candidate
        const settled = await settleMeans({ ...input, batches: input.training }, cut, options)
        expect(settled.before).toBe(await judge(cut))
        expect(settled.best).toBeLessThanOrEqual(settled.before as number)
        return { ...cut, ...settled }
      }),
    )
    const best = Math.min(...results.map((each) => each.best as number))
    expect(await judge(decided)).toBe(best)
    const { training } = decided.findings
    expect(training?.best).toBe(best)
    // What the masks left, and every look at the means: the report draws these.
    const looked = training?.curve.flatMap(({ update, heldOut }) =>
      heldOut === undefined ? [] : [update],
    )
    expect(looked).toEqual([6, 7, 8])
    const winner = results.find((each) => each.best === best)
    expect(decided.slices).toEqual(winner?.slices)
    expect(lines.at(-1)).toBe(`What goes is chosen by ${winner?.by}.`)
    // Without them, or where nobody asks, masks choose.
    const [masks] = results
    const unsettled = { ...options, settle: 0 }
    for (const [own, chosen] of [
      [{ ...input, heldOut: undefined }, unsettled],
      [input, { ...unsettled, choice: 'masks' }],
    ] as const)
      expect((await decideSelected(own, learned, chosen)).slices).toEqual(masks?.slices)
  })

  it('leave out means that make it worse, and the log says so', async () => {
    const { input, options, lines } = await prepare({ settlingRate: 30, choice: 'masks' })
    const learned = await learnMasks({ ...input, batches: input.training }, options)
    const before = await cutByMasks(input, learned, options)
    const decided = await decideSelected(input, learned, options)
    expect(decided.projections).toEqual(before.projections)
    expect(lines.at(-1)).toMatch(/learned means make it no better and are left out/)
  })

  it.each(['parameters', 'flops'] as const)('find both at one price: %s', async (target) => {
    const { input, options } = await prepare({ target, updates: 4, settle: 0 })
    const learned = await learnMasks({ ...input, batches: input.training }, options)
    const { total } = learned.resources[0] as Resource
    for (const make of [cutByMasks, cutByError]) {
      const { removed, ...cut } = (await make(input, learned, options)) as Candidate
      expect((removed[0] ?? 0) / total).toBeCloseTo(options.ratio, 1)
      if (target === 'parameters') continue
      const { model } = loadModel(folder)
      applyPart(model.graph, { slices: cut.slices })
      const view = readModel(model.graph)
      const masks = learned.set.masks.map((mask) => ({
        ...mask,
        size: view.dimensions.find(({ id }) => id === mask.dimension.id)?.size ?? 1,
      }))
      const left = costOf(
        operationsOf(input.view, learned.set.masks),
        masks.map(({ size }) => size),
      )
      expect(left).toBeLessThanOrEqual(total * (1 - options.ratio))
    }
  })
})

it('masks decide where a block’s error can’t be told: less would go, and look better for it', async () => {
  const root = mkdtempSync(join(tmpdir(), 'attnc-choice-'))
  try {
    // One feed-forward for two streams: its weights are no matrix of one block alone.
    const model = build((b) => {
      const [up, down] = [b.weight(8, 12), b.weight(12, 8)]
      const feed = (x: Value): Value =>
        b.op('Add', [x, b.op('MatMul', [b.op('Relu', [b.op('MatMul', [x, up])]), down])])
      const both = ['left', 'right'].map((name) =>
        feed(b.linear(b.input(name, ['batch', 5, 8]), 8, 8)),
      )
      const scores = b.linear(b.op('Concat', both, { axis: -1 }), 16, 3)
      b.declare(scores, ['batch', 5, 3])
      return scores
    })
    writeFileSync(join(root, 'model.onnx'), bytesOf(model))
    const { input, options, lines } = await prepare({ ratio: 0.3 }, loadModel(root), 'random')
    const learned = await learnMasks({ ...input, batches: input.training }, options)
    const { slices } = await decideSelected(input, learned, options)
    expect(lines.join()).toContain("can't be told")
    expect(slices.map(({ remove }) => remove.length)).toEqual([4])
  } finally {
    rmSync(root, { recursive: true, force: true })
  }
})
