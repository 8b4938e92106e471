/** Learned masks: their mathematics beside differences, gates beside masks, selection by index, plans. */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { divergence, logAlpha, softKeep } from '../../passes/vtrans/bottleneck.js'
import { decideVtrans } from '../../passes/vtrans/decide.js'
import { insertGates, spread } from '../../passes/vtrans/gates.js'
import { vtrans } from '../../passes/vtrans/index.js'
import { localOptimum } from '../../passes/vtrans/local.js'
import { findMasks, type Mask, type MaskSet } from '../../passes/vtrans/masks.js'
import { vtransDefaults } from '../../passes/vtrans/options.js'
import { costOf, parametersOf, shareLeft, slopesOf } from '../../passes/vtrans/resource.js'
import { assertReachable, countsOf, selectUnits } from '../../passes/vtrans/select.js'
import { openData } from '../../src/data/open-data.js'
import { edit } from '../../src/graph/edit.js'
import type { Model, Value } from '../../src/graph/graph.js'
import { silentLog } from '../../src/log.js'
import { readModel } from '../../src/model/model.js'
import { loadModel } from '../../src/model-folder/load.js'
import { NodeBuilder } from '../../src/node-builder/node-builder.js'
import { float32Tensor } from '../../src/onnx/tensor.js'
import { applyPart } from '../../src/plan/apply.js'
import { decidePlan } from '../../src/prune/decide.js'
import { inferShapes } from '../../src/shape/infer.js'
import { difference, readFeeds, rewritten, runModel, zooFolder } from '../zoo/compare.js'

/** Central difference of a function of one number. */
const slopeOf = (f: (x: number) => number, x: number): number => {
  const step = 1e-5 * Math.max(1, Math.abs(x))
  return (f(x + step) - f(x - step)) / (2 * step)
}

describe('the bottleneck', () => {
  it('has the derivatives that differences have', () => {
    const mean = fc.double({ min: 0.05, max: 9, noNaN: true })
    const sign = fc.constantFrom(-1, 1)
    const logVariance = fc.double({ min: -6, max: 4, noNaN: true })
    fc.assert(
      fc.property(mean, sign, logVariance, (size, side, v) => {
        const m = size * side
        for (const f of [divergence, softKeep] as const) {
          const found = f(m, v)
          const scale = 1e-6 + Math.abs(found.byMean) + Math.abs(found.byLogVariance)
          const byMean = slopeOf((x) => f(x, v).value, m)
          const byLogVariance = slopeOf((x) => f(m, x).value, v)
          expect(Math.abs(found.byMean - byMean) / scale).toBeLessThan(1e-5)
          expect(Math.abs(found.byLogVariance - byLogVariance) / scale).toBeLessThan(1e-5)
        }
      }),
      { seed: 5, numRuns: 200 },
    )
  })

  it('starts at the published price a unit, and keeps units whose α is above 1', () => {
    expect(divergence(1, -9).value).toBeCloseTo(4.5, 3)
    // 32·32 heads at weight 64, 32·11,008 neurons and 4,096 channels at 94, times 1e-6: LLaMA-2-7B.
    const parts = [64 * 32 * 32, 32 * 11008, 94 * 4096].map((n) => n * 1e-6 * 4.5)
    expect(parts.map((each) => each.toFixed(2))).toEqual(['0.29', '1.59', '1.73'])
    expect(logAlpha(1, -9)).toBeLessThan(0)
    expect(logAlpha(0.1, 0)).toBeGreaterThan(0)
    expect(softKeep(1, -9).value).toBeCloseTo(1)
  })

  it('of one unit alone has its optimum where the closed form says', () => {
    fc.assert(
      fc.property(
        fc.double({ min: 0.1, max: 10, noNaN: true }),
        fc.double({ min: 0.05, max: 0.9, noNaN: true }),
        (cost, share) => {
          const price = cost * share
          const { mean, variance } = localOptimum(cost, price)
          const loss = (m: number, v: number): number =>
            0.5 * cost * ((m - 1) ** 2 + Math.exp(v)) + price * divergence(m, v).value
          const least = loss(mean, Math.log(variance))
          for (const [m, v] of [
            [0.01, 0],
            [-0.01, 0],
            [0, 0.01],
            [0, -0.01],
          ] as const)
            expect(loss(mean + m, Math.log(variance) + v)).toBeGreaterThan(least)
          expect(mean ** 2 / variance).toBeCloseTo(cost / price - 1, 3)
        },
      ),
      { seed: 6, numRuns: 100 },
    )
  })
})

describe('selection', () => {
  const mask = (index: number, size: number, role: 'width' | 'keyValueHeads'): Mask =>
    ({ dimension: { role, granularity: 1 }, offset: index * 100, size }) as unknown as Mask

  it('costs what a measured curve says between its knots', () => {
    const knots = [
      { count: 1, cost: 5 },
      { count: 3, cost: 6 },
      { count: 7, cost: 14 },
    ]
    const curve = { terms: [], curves: [{ mask: 0, knots }] }
    expect([1, 2, 3, 5, 7].map((count) => costOf(curve, [count]))).toEqual([5, 5.5, 6, 10, 14])
  })

  it('takes a block whole where its own mask says so, and counts what is left of it', () => {
    const masks: Mask[] = [mask(0, 40, 'width'), mask(1, 40, 'width')].flatMap((units) => [
      units,
      { ...units, offset: units.offset + 50, size: 1, isWhole: true },
    ])
    const terms = [
      { factor: 2, masks: [0, 1] },
      { factor: 2, masks: [2, 3] },
    ]
    const resource = {
      unit: 'parameters' as const,
      terms,
      curves: [],
      total: costOf({ terms, curves: [] }, [40, 1, 40, 1]),
    }
    const logVariances = new Float32Array(200)
    // Units of both are alike; the second block as such is the least sure of all.
    for (let at = 0; at < 40; at++) logVariances[at] = logVariances[100 + at] = -at / 10
    logVariances[50] = -9
    logVariances[150] = 9
    const means = new Float32Array(200).fill(1)
    const set: MaskSet = { masks, size: 200 }
    const selected = selectUnits(
      { set, resources: [resource], means, logVariances },
      { ratio: 0.5, roundTo: 4 },
    )
    expect(countsOf(selected)).toEqual([36, 1, 4, 1])
    expect(selected.map(({ kept }) => kept.length)).toEqual([36, 1, 4, 0])
    expect(costOf(resource, countsOf(selected))).toBe(resource.total / 2)
    // A block that would come back before the first has all its units doesn't keep those away.
    logVariances[150] = -1
    const again = selectUnits(
      { set, resources: [resource], means, logVariances },
      { ratio: 0.5, roundTo: 4 },
    )
    expect(countsOf(again)).toEqual([36, 1, 4, 1])
  })

  it('meets the budget by whole units, in multiples, and keeps one of each', () => {
    const property = fc.property(
      fc.array(fc.double({ min: -8, max: 8, noNaN: true }), { minLength: 300, maxLength: 300 }),
      fc.double({ min: 0.05, max: 0.95, noNaN: true }),
      fc.constantFrom(1, 8, 16),
      (scores, ratio, roundTo) => {
        const masks = [mask(0, 6, 'keyValueHeads'), mask(1, 96, 'width'), mask(2, 64, 'width')]
        const terms = [
          { factor: 40, masks: [0] },
          { factor: 3, masks: [1] },
          { factor: 3, masks: [2] },
        ]
        const sizes = masks.map(({ size }) => size)
        const resource = {
          unit: 'parameters' as const,
          terms,
          curves: [],
          total: costOf({ terms, curves: [] }, sizes),
        }
        const set: MaskSet = { masks, size: 300 }
        const means = new Float32Array(300).fill(1)
        const logVariances = Float32Array.from(scores)
        const selected = selectUnits(
          { set, resources: [resource], means, logVariances },
          { ratio, roundTo },
        )
        const counts = selected.map(({ kept }) => kept.length)
        // Something else of which heads take much more: both are met.
        const other = {
          ...resource,
          terms: [
            { factor: 400, masks: [0] },
            { factor: 1, masks: [1] },
          ],
          total: 400 * 6 + 96,
        }
        const resources = [resource, other]
        const own = selectUnits({ set, resources, means, logVariances }, { ratio, roundTo })
        expect(shareLeft(resources, countsOf(own))).toBeLessThanOrEqual(
          Math.max(shareLeft(resources, [1, roundTo, roundTo]), 1 - ratio) + 1e-9,
        )
        const least = costOf(resource, [1, roundTo, roundTo])
        // What can't be met is refused before anything is learned.
        const ask = () => assertReachable(masks, [resource], { ratio, roundTo })
        if (least <= resource.total * (1 - ratio)) ask()
        else expect(ask).toThrow(/can't go: .* would be saved/)
        expect(costOf(resource, counts)).toBeLessThanOrEqual(
          Math.max(least, resource.total * (1 - ratio)) + 1e-9,
        )
        for (const { kept, order, mask: own } of selected) {
          expect(kept.length).toBeGreaterThan(0)
          if (own.dimension.role === 'width') expect(kept.length % roundTo).toBe(0)
          expect([...kept].sort((a, b) => a - b)).toEqual(kept)
          // The surest, whatever their scores are.
          const surest = order.toReversed().slice(0, kept.length)
          expect(surest.toSorted((a, b) => a - b)).toEqual(kept)
        }
      },
    )
    fc.assert(property, { seed: 7, numRuns: 60 })
  })
})

const zoo = ['llama-gqa', 'gpt2-ts', 't5-dyn', 'vit-op23', 'mixtral-dyn'].filter((name) =>
  existsSync(join(zooFolder, name)),
)

/** Every third unit of every mask goes. */
const gatesOf = ({ masks }: MaskSet): Float32Array[] =>
  masks.map(({ size }) => Float32Array.from({ length: size }, (_, unit) => Number(unit % 3 !== 1)))

function gated(model: Model, structures: typeof vtransDefaults.structures): Model {
  const view = readModel(model.graph)
  const set = findMasks(view, { protect: [], structures })
  const gates = gatesOf(set)
  edit(model.graph, 'test', (change) => {
    const constants = new Map<Mask, Value>(
      set.masks.map((mask, index) => [
        mask,
        change.constant(float32Tensor([mask.size], gates[index] as Float32Array)),
      ]),
    )
    insertGates(new NodeBuilder(change, inferShapes(model.graph)), view, set, (site) =>
      spread(site, constants.get(site.mask) as Value, 1),
    )
  })
  return model
}

describe.skipIf(zoo.length === 0)(`gates (skipped where ${zooFolder} is absent)`, () => {
  it.each(zoo)('of zeros and ones in %s are the mask and the slice', async (name) => {
    const folder = join(zooFolder, name)
    const structures = ['heads', 'width'] as const
    const view = readModel(loadModel(folder).model.graph)
    const set = findMasks(view, { protect: [], structures })
    const gates = gatesOf(set)
    const choice = new Map(
      set.masks.map(({ dimension: { id, size, granularity } }, index) => [
        id,
        Array.from({ length: size }, (_, member) => member).filter(
          (member) => gates[index]?.[Math.floor(member / granularity)] === 1,
        ),
      ]),
    )
    const feeds = [readFeeds(folder, view.graph)]
    const [one] = await runModel(gated(loadModel(folder).model, structures), feeds)
    const [other] = await runModel(rewritten(loadModel(folder).model, choice, 'mask'), feeds)
    expect(difference(one ?? {}, other ?? {})).toBeLessThan(1e-5)
  })
})

describe.skipIf(zoo.length === 0)('the count of parameters', () => {
  it.each(zoo)('of %s is exact for whole units, and its slopes are differences', (name) => {
    const view = readModel(loadModel(join(zooFolder, name)).model.graph)
    const { masks } = findMasks(view, { protect: [], structures: ['heads', 'width'] })
    const resource = parametersOf(view, masks)
    const sizes = masks.map(({ size }) => size)
    const slopes = slopesOf(resource, sizes)
    for (const [index, { dimension }] of masks.entries()) {
      const fewer = sizes.with(index, (sizes[index] as number) - 1)
      const lost = resource.total - costOf(resource, fewer)
      expect(lost, dimension.id).toBeCloseTo(dimension.parametersPerMember)
      expect(slopes[index], dimension.id).toBeCloseTo(lost)
    }
  })
})

const digits = '../shared/models/digits-vit'
const hasDigits = existsSync(`${digits}/model.onnx`)
if (!hasDigits) process.stdout.write(`VTrans on digits-vit is skipped: there is no ${digits}\n`)

describe.skipIf(!hasDigits)('VTrans', () => {
  it.each([
    ['heads and neurons', vtransDefaults.structures, 0.4],
    ['whole blocks too', [...vtransDefaults.structures, 'layers'] as const, 0.6],
  ] as const)(
    'learns the same masks twice, meets the ratio, and slices to what it masks: %s',
    async (_, structures, ratio) => {
      const source = loadModel(digits)
      const batches = openData(`${digits}/calibration.npz`, {
        model: source.model,
        folder: digits,
        batchSize: 32,
        samples: 128,
      })
      const view = readModel(source.model.graph)
      const options = { ...vtransDefaults, structures, ratio, updates: 16, batchSize: 32 }
      const input = { model: source.model, view, batches, log: silentLog, threads: 1 }
      const first = await decideVtrans(input, options)
      expect(await decideVtrans(input, options)).toEqual(first)
      expect((first.removed[0] ?? 0) / (first.resources[0]?.total ?? 1)).toBeGreaterThan(
        ratio - 0.01,
      )
      const feeds = batches.slice(0, 1).map((batch) => batch.feeds)
      const results = await Promise.all(
        (['slice', 'mask'] as const).map(async (as) => {
          const { model } = loadModel(digits)
          applyPart(model.graph, first, { as })
          return (await runModel(model, feeds))[0] ?? {}
        }),
      )
      expect(difference(results[0] ?? {}, results[1] ?? {})).toBeLessThan(1e-5)
    },
  )

  it.each([
    ['full', 2],
    ['local', 1],
  ] as const)(
    'as %s makes %i parts, of which each fits what the one before left',
    async (variant, count) => {
      const source = loadModel(digits)
      const batches = openData(`${digits}/calibration.npz`, {
        model: source.model,
        folder: digits,
        batchSize: 32,
        samples: 96,
      })
      const pass = vtrans({ variant, ratio: 0.4, updates: 4, weightUpdates: 2, roundTo: 16 })
      const options = { source, batches, passes: [pass], single: true, threads: 1, log: silentLog }
      const { parts } = (await decidePlan(options)).plan
      const { model } = loadModel(digits)
      expect(parts).toHaveLength(count)
      for (const part of parts) applyPart(model.graph, part)
      const widths = readModel(model.graph).feedForward.map(({ width }) => width % 16)
      expect(new Set(widths)).toEqual(new Set([0]))
      const [results] = await runModel(model, [batches[0]?.feeds ?? {}])
      expect(Object.values(results ?? {})[0]?.dims).toEqual([32, 10])
    },
  )
})
