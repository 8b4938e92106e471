/** One update of the masks as a graph: its gradient beside differences, its settled form beside the slice. */
import { existsSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { slicesOf } from '../../passes/vtrans/candidates.js'
import { foldMeans } from '../../passes/vtrans/fold.js'
import { MaskRun } from '../../passes/vtrans/mask-run.js'
import { findMasks } from '../../passes/vtrans/masks.js'
import { PLACES, placesOf } from '../../passes/vtrans/noise.js'
import { vtransDefaults } from '../../passes/vtrans/options.js'
import { PRESSURE, SLOPE, TARGET } from '../../passes/vtrans/penalties.js'
import { parametersOf, type Resource } from '../../passes/vtrans/resource.js'
import { buildStepGraph, MASKS, type StepGraph } from '../../passes/vtrans/step-graph.js'
import { generator } from '../../src/data/generator.js'
import { openData } from '../../src/data/open-data.js'
import type { Recomputation } from '../../src/gradients/backward.js'
import { silentLog } from '../../src/log.js'
import { readModel } from '../../src/model/model.js'
import { loadModel } from '../../src/model-folder/load.js'
import { numbersOf, type RuntimeTensor, tensorOf, zeros } from '../../src/onnx/numbers.js'
import { applyPart } from '../../src/plan/apply.js'
import { materialise } from '../../src/runtime/materialise.js'
import { openSession, type Session } from '../../src/runtime/session.js'
import { feedsOf, sizesOfFeeds } from '../../src/train/feeds.js'
import { chooseObjective, targetsOf } from '../../src/train/loss/objective.js'
import { COUNT, RATE } from '../../src/train/training-graph.js'
import { runModel } from '../zoo/compare.js'

const folder = '../shared/models/digits-vit'
const isThere = existsSync(`${folder}/model.onnx`)
if (!isThere) process.stdout.write(`Updates of masks are skipped: there is no ${folder}\n`)

const scalar = (number: number): RuntimeTensor => tensorOf('float32', [], [number])

describe.skipIf(!isThere)('an update of the masks', () => {
  it('has the gradient of differences, and once settled is the sliced model', async () => {
    const { model } = loadModel(folder)
    const view = readModel(model.graph)
    const [batch] = openData(`${folder}/calibration.npz`, {
      model,
      folder,
      batchSize: 16,
      samples: 16,
    })
    if (!batch) throw new Error('there is no batch')
    const options = {
      ...vtransDefaults,
      structures: ['heads', 'width', 'hidden', 'layers'] as const,
      bottleneck: 0,
    }
    const { masks, size } = findMasks(view, options)
    const objective = chooseObjective(model, [batch])
    const build = (recompute?: Recomputation, settled?: Float32Array, fusesRowsFrom?: number) =>
      buildStepGraph(model, {
        objective,
        teacher: undefined,
        options,
        resources: [parametersOf(view, masks)],
        recompute,
        settled,
        fusesRowsFrom,
        feeds: fusesRowsFrom ? { ...batch.feeds, ...targetsOf(objective, batch) } : undefined,
      })
    const step = build()
    expect(step.set.size).toBe(size)
    const random = generator(3)
    const near = (center: number, width: number): number[] =>
      Array.from({ length: size }, () => center + width * (random() - 0.5))
    const numbers = [...near(1, 0.5), ...near(-3, 1)]
    const file = materialise(step.model)
    await using plain = await openSession({ path: file.path, threads: 1 })
    const update = async (
      values: readonly number[],
      { session, names }: { session: Session; names: StepGraph } = { session: plain, names: step },
    ) => {
      const all = {
        ...batch.feeds,
        ...targetsOf(objective, batch),
        ...Object.fromEntries(names.states.map((name) => [name, zeros('float32', [names.length])])),
        [MASKS]: tensorOf('float32', [names.length], values),
        [PLACES]: placesOf(step.sites, 0, 1),
        [PRESSURE]: tensorOf('float32', [2], [0, 0]),
        [SLOPE]: scalar(1),
        [TARGET]: scalar(0),
        [RATE]: scalar(0),
        [COUNT]: scalar(1),
      }
      const results = await session.run(feedsOf(session, all))
      const read = (name: string) => numbersOf(results[name] as RuntimeTensor)
      const momentum = Object.entries(names.carry).find(([, input]) => input === names.states[0])
      const norm = read(names.norm)[0] as number
      // After one update of states that were zero, momentum is a tenth of the clipped gradient.
      const gradient = Array.from(
        read(momentum?.[0] ?? ''),
        (each) => 10 * each * Math.max(1, norm),
      )
      return { loss: read(names.loss)[0] as number, gradient }
    }

    const { gradient } = await update(numbers)
    const sizes = sizesOfFeeds(step.model.graph, { ...batch.feeds, ...targetsOf(objective, batch) })
    const names = build({ share: 1, sizes })
    const twice = materialise(names.model)
    await using session = await openSession({ path: twice.path, threads: 1 })
    const again = (await update(numbers, { session, names })).gradient
    expect(names.model.graph.nodesById.size).toBeGreaterThan(step.model.graph.nodesById.size + 100)
    const largest = Math.max(...gradient.map(Math.abs))
    for (const [at, each] of gradient.entries())
      expect(Math.abs(each - (again[at] as number)) / largest).toBeLessThan(1e-5)
    twice.dispose()

    const fused = build(undefined, undefined, 2)
    expect([...fused.model.graph.nodes()].some(({ op }) => op === 'RowProgram')).toBe(true)
    const fusedFile = materialise(fused.model)
    await using fusedSession = await openSession({ path: fusedFile.path, threads: 1 })
    const put = (await update(numbers, { session: fusedSession, names: fused })).gradient
    for (const [at, each] of gradient.entries())
      expect(Math.abs(each - (put[at] as number)) / largest).toBeLessThan(1e-5)
    fusedFile.dispose()

    const compare = async (
      values: readonly number[],
      found: readonly number[],
      on?: { session: Session; names: StepGraph },
    ) => {
      const length = Math.hypot(...found)
      const along = async (by: number): Promise<number> => {
        const moved = values.map((each, at) => each + (by * (found[at] as number)) / length)
        return (await update(moved, on)).loss
      }
      const numeric = ((await along(0.01)) - (await along(-0.01))) / 0.02
      expect(Math.abs(numeric - length) / length).toBeLessThan(0.02)
    }
    await compare(numbers, gradient)

    const keep = Float32Array.from({ length: size }, () => Number(random() < 0.7))
    for (const { offset } of masks) keep[offset] = 1
    // Of two blocks nothing is left: one of attention, one of neurons.
    const wholes = masks.filter(({ isWhole }) => isWhole)
    const gone = ['keyValueHeads', 'width'].flatMap(
      (role) => wholes.find(({ dimension }) => dimension.role === role) ?? [],
    )
    expect(gone).toHaveLength(2)
    for (const { offset } of gone) keep[offset] = 0
    const learning = build(undefined, keep)
    const still = materialise(learning.model)
    await using last = await openSession({ path: still.path, threads: 1 })
    const own = numbers.slice(0, size)
    const settled = await update(own, { session: last, names: learning })
    await compare(own, settled.gradient, { session: last, names: learning })
    still.dispose()
    const selected = masks.map((mask) => ({
      mask,
      kept: Array.from({ length: mask.size }, (_, unit) => unit).filter(
        (unit) => keep[mask.offset + unit] === 1,
      ),
      order: [],
    }))
    const means = Float32Array.from(numbers.slice(0, size))
    applyPart(model.graph, {
      slices: slicesOf(selected),
      projections: foldMeans(view, { means }, selected),
    })
    const [results] = await runModel(model, [batch.feeds])
    const logits = numbersOf(results?.[objective.output] as RuntimeTensor)
    const labels = Array.from(batch.extras?.['labels']?.data ?? [], Number)
    const losses = labels.map((label, row) => {
      const answers = Array.from(logits.subarray(row * 10, (row + 1) * 10))
      return (
        Math.log(answers.reduce((sum, each) => sum + Math.exp(each), 0)) -
        (answers[label] as number)
      )
    })
    const loss = losses.reduce((sum, each) => sum + each, 0) / losses.length
    expect(Math.abs(settled.loss - loss)).toBeLessThan(1e-5 * Math.max(1, loss))
    file.dispose()
  })

  it('counts what is saved the least of, where several things are to be saved', async () => {
    const { model } = loadModel(folder)
    const limits = { batchSize: 16, samples: 16 }
    const batches = openData(`${folder}/calibration.npz`, { model, folder, ...limits })
    const view = readModel(model.graph)
    const set = findMasks(view, vtransDefaults)
    const { masks, size } = set
    const parameters = parametersOf(view, masks)
    // Time that heads take alone, as a curve.
    const curves = masks.flatMap(({ dimension, size: count }, mask) =>
      dimension.role === 'width'
        ? []
        : [
            {
              mask,
              knots: [
                { count: 0, cost: 0 },
                { count: 1, cost: 4 },
                { count, cost: 6 },
              ],
            },
          ],
    )
    const time = { unit: 'microseconds', terms: [], curves, total: 6 * curves.length } as const
    const random = generator(9)
    const initial = Float32Array.from({ length: 2 * size }, (_, at) =>
      at < size ? 1 : random() * 4 - 2,
    )
    const saved = async (resources: readonly Resource[]): Promise<number> => {
      const learning = { set, resources, initial, updates: 1, what: '' }
      const given = { model, teacher: model, batches, ...learning }
      await using run = await MaskRun.open({ ...given, log: silentLog, threads: 1 }, vtransDefaults)
      const sparsity = await run.update(0, {
        [PRESSURE]: tensorOf('float32', [2], [0, 0]),
        [SLOPE]: scalar(1),
        [TARGET]: scalar(0),
      })
      return sparsity ?? Number.NaN
    }
    const [one, other] = [await saved([parameters]), await saved([time])]
    expect(Math.abs(one - other)).toBeGreaterThan(0.01)
    for (const both of [
      [parameters, time],
      [time, parameters],
    ])
      expect(await saved(both)).toBeCloseTo(Math.min(one, other), 5)
  })
})
