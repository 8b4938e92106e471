/** Passes on attention over edges: the heads that say least go first, with and without a weight behind them. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import Apply from '../../commands/apply.js'
import Prune from '../../commands/prune.js'
import { decideAmp } from '../../passes/amp/decide.js'
import { ampDefaults } from '../../passes/amp/options.js'
import { findSkipped } from '../../passes/amp/skipped.js'
import { calibrate } from '../../src/calibrate/calibrate.js'
import type { Batch } from '../../src/data/batch.js'
import type { Model, Value } from '../../src/graph/graph.js'
import { silentLog } from '../../src/log.js'
import { readModel } from '../../src/model/model.js'
import { tensorOf } from '../../src/onnx/numbers.js'
import { applyPart } from '../../src/plan/apply.js'
import { checkSlice } from '../../src/prune/check.js'
import type { Builder } from '../axes/builder.js'
import {
  C,
  D,
  flat,
  type Graph,
  graphModel,
  H,
  hear,
  pick,
  randomGraph,
} from '../axes/edge-models.js'
import { runJson } from '../commands/run-command.js'
import { bytesOf, runModel } from '../zoo/compare.js'

/** What heads say, each as loud as it is given. */
function loud(b: Builder, graph: Graph, loudness: readonly number[]): Value {
  const [q, k, v] = [0, 1, 2].map(() => b.reshape(b.linear(graph.x, C, H * D), -1, H, D)) as [
    Value,
    Value,
    Value,
  ]
  const pair = b.op('Mul', [pick(b, q, graph.target), pick(b, k, graph.source)])
  const scores = b.op('ReduceSum', [pair, b.integers(-1)], { keepdims: 0 })
  const values = b.op('Mul', [pick(b, v, graph.source), b.numbers(loudness, 1, H, 1)])
  return hear(b, graph, scores, values, [H, D], { shift: 'minimum' })
}

const ends: Readonly<Record<string, (b: Builder, graph: Graph, context: Value) => Value>> = {
  'laid into a stream': (b, { x }, context) => b.op('Add', [x, flat(b, context)]),
  'behind a weight': (b, { x }, context) => b.op('Add', [x, b.linear(flat(b, context), H * D, C)]),
  averaged: (b, { x }, context) => {
    const mean = b.op('ReduceMean', [context, b.integers(1)], { keepdims: 0 })
    return b.op('Add', [b.linear(x, C, D), mean])
  },
}

const model = (end: keyof typeof ends, loudness: readonly number[]): Model =>
  graphModel((b, graph) => {
    const said = (ends[end] as (typeof ends)[string])(b, graph, loud(b, graph, loudness))
    return b.linear(said, end === 'averaged' ? D : C, 2)
  })

const batches: Batch[] = [1, 2, 3, 4].map((seed) => ({
  feeds: randomGraph(8 + seed, 40, seed),
  tokenMask: undefined,
  ids: [],
}))

describe('attention over edges', { timeout: 60_000 }, () => {
  it.each(
    Object.keys(ends).flatMap((end) =>
      ['output', 'activation', 'paper'].map((criterion) => [end, criterion] as const),
    ),
  )('%s loses the head that says least, by %s', async (end, criterion) => {
    const loudness = [1, 0.01, 1.5]
    const dense = model(end, loudness)
    const view = readModel(dense.graph)
    expect(findSkipped(view, ampDefaults)).toEqual([])
    const calibration = await calibrate(dense, { batches, moments: true, log: silentLog })
    const decision = await decideAmp(
      { model: dense, view, batches, calibration, log: silentLog },
      { ...ampDefaults, criterion: criterion as 'output', ratio: 1 / H },
    )
    const [heads] = decision.slices.filter(({ dimension }) => dimension.endsWith('eyValueHeads'))
    expect(heads?.remove).toEqual([1])
    const part = {
      pass: 'amp',
      options: {},
      slices: decision.slices,
      projections: decision.projections,
    }
    const [sliced, masked] = [model(end, loudness), model(end, loudness)]
    applyPart(sliced.graph, part)
    applyPart(masked.graph, part, { as: 'mask' })
    const check = await checkSlice(sliced, masked, batches, { log: silentLog })
    expect(check.largest).toBeLessThanOrEqual(1e-5)
  })

  it.each(['laid into a stream', 'averaged'])(
    '%s, a head that goes leaves its mean',
    async (end) => {
      const dense = model(end, [1, 0.4, 1.5])
      const view = readModel(dense.graph)
      const calibration = await calibrate(dense, { batches, moments: true, log: silentLog })
      const { slices, projections } = await decideAmp(
        { model: dense, view, batches, calibration, log: silentLog },
        { ...ampDefaults, ratio: 1 / H },
      )
      const cut = model(end, [1, 0.4, 1.5])
      applyPart(cut.graph, { pass: 'amp', options: {}, slices, projections })
      const feeds = batches.map((batch) => batch.feeds)
      const [before, after] = [await runModel(dense, feeds), await runModel(cut, feeds)]
      const errors = before.flatMap((results, index) =>
        Object.entries(results).flatMap(([name, { data }]) =>
          Array.from(
            data as Float32Array,
            (each, at) => each - Number(after[index]?.[name]?.data[at]),
          ),
        ),
      )
      // Of both numbers of the answer: each is off, and all of them together are not.
      for (const column of [0, 1]) {
        const own = errors.filter((_, at) => at % 2 === column)
        const mean = own.reduce((sum, each) => sum + each, 0) / own.length
        expect(Math.abs(mean)).toBeLessThan(1e-5)
        expect(Math.max(...own.map(Math.abs))).toBeGreaterThan(1e-3)
      }
    },
  )

  it('is cut by a plan from disk as it was cut before', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'attnc-test-'))
    try {
      writeFileSync(join(folder, 'model.onnx'), bytesOf(model('laid into a stream', [1, 1, 1])))
      const plan = join(folder, 'plan.json')
      const outputs = ['one', 'other'].map((name) => join(folder, name))
      const [one = '', other = ''] = outputs
      const data = ['--data', 'random', '--samples', '4', '--provider', 'cpu']
      await runJson(Prune, [folder, '--ratio', '0.35', ...data, '--plan-out', plan, '-o', one])
      await runJson(Apply, [folder, '--plan', plan, '-o', other, '--provider', 'cpu'])
      const read = (output: string) => readFileSync(join(output, 'model.onnx'))
      expect(read(other).equals(read(one))).toBe(true)
    } finally {
      rmSync(folder, { recursive: true })
    }
  })

  it.each([
    ['laid into a stream', ['--pass', 'vtrans', '--updates', '6']],
    ['averaged', ['--pass', 'vtrans', '--updates', '6']],
    ['behind a weight', ['--pass', 'vtrans', '--updates', '6']],
    ['laid into a stream', ['--criterion', 'magnitude', '--recover', 'none']],
    ['averaged', ['--target', 'params=0.8x']],
  ] as const)('%s is pruned on graphs drawn by chance: %s', async (end, flags) => {
    const folder = mkdtempSync(join(tmpdir(), 'attnc-test-'))
    try {
      writeFileSync(join(folder, 'model.onnx'), bytesOf(model(end, [1, 1, 1])))
      const ratio = flags[0] === '--target' ? [] : ['--ratio', '0.35']
      const { json, exitCode } = await runJson<{
        error?: object
        check: { largest: number }
        slices: { dimension: string; remove: number[] }[]
      }>(Prune, [
        ...[folder, ...flags, ...ratio, '--data', 'random', '--samples', '6'],
        ...['--sequence-length', '40', '--provider', 'cpu', '-o', join(folder, 'out')],
      ])
      expect([exitCode, json.error]).toEqual([0, undefined])
      expect(json.check.largest).toBeLessThanOrEqual(1e-5)
      expect(json.slices.map(({ dimension }) => dimension)).toEqual(['layer.0.keyValueHeads'])
    } finally {
      rmSync(folder, { recursive: true })
    }
  })

  it('is judged by labels of its nodes, gated as a whole', async () => {
    const labelled = batches.map((batch) => {
      const nodes = batch.feeds['x']?.dims[0] ?? 0
      const labels = tensorOf(
        'int64',
        [nodes],
        Array.from({ length: nodes }, (_, i) => i % 2),
      )
      return { ...batch, extras: { labels } }
    })
    for (const end of Object.keys(ends)) {
      const dense = model(end, [1, 0.001, 1])
      const view = readModel(dense.graph)
      const calibration = await calibrate(dense, {
        batches: labelled,
        moments: true,
        log: silentLog,
      })
      const { slices } = await decideAmp(
        { model: dense, view, batches: labelled, calibration, log: silentLog },
        { ...ampDefaults, criterion: 'fisher', recover: 'none', ratio: 1 / H },
      )
      expect(slices.map(({ remove }) => remove)).toEqual([[1]])
    }
  })
})
