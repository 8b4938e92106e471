/** AMP on mixtures of experts: each with weights of its own, some without a token, or all in one weight. */
import { expect, it } from 'vitest'
import { decideAmp } from '../../passes/amp/decide.js'
import { ampDefaults, isAskedFor } from '../../passes/amp/options.js'
import { findSkipped } from '../../passes/amp/skipped.js'
import { calibrate } from '../../src/calibrate/calibrate.js'
import type { Batch } from '../../src/data/batch.js'
import { generator } from '../../src/data/generator.js'
import type { Model, Value } from '../../src/graph/graph.js'
import { silentLog } from '../../src/log.js'
import { readModel } from '../../src/model/model.js'
import { tensorOf } from '../../src/onnx/numbers.js'
import { applyPart } from '../../src/plan/apply.js'
import { checkSlice } from '../../src/prune/check.js'
import { findPrunable } from '../../src/repair/prunable.js'
import { type Builder, build } from '../axes/builder.js'

// C hidden, E experts of width W, S tokens
const [C, E, W, S] = [16, 3, 24, 6]

/** Every expert on the rows that are sent to it; nothing ever goes to the last. */
function routed(b: Builder, x: Value): Value {
  const rows = b.reshape(x, -1, C)
  const scores = b.op('Add', [b.op('MatMul', [rows, b.weight(C, E)]), b.numbers([0, 0, -1000], E)])
  const chosen = b.op('ArgMax', [scores], { axis: -1, keepdims: 0 })
  let answers = b.op('Mul', [rows, b.scalar(0)])
  for (let expert = 0; expert < E; expert++) {
    const places = b.op('NonZero', [b.op('Equal', [chosen, b.whole(expert)])])
    const at = b.transpose(places, 1, 0)
    const own = b.op('GatherND', [rows, at])
    const wide = b.op('Relu', [b.op('MatMul', [own, b.weight(C, W)])])
    const answer = b.op('MatMul', [wide, b.weight(W, C)])
    answers = b.op('ScatterND', [answers, at, answer], { reduction: 'add' })
  }
  return b.op('Add', [x, b.reshape(answers, -1, S, C)])
}

/** All experts on all rows, in weights [E, C, W] and [E, W, C]. */
function stacked(b: Builder, x: Value): Value {
  const gates = b.op('Softmax', [b.linear(x, C, E)], { axis: -1 })
  const wide = b.op('Relu', [b.op('Einsum', [x, b.weight(E, C, W)], { equation: 'bsc,ecw->besw' })])
  const answers = b.op('Einsum', [wide, b.weight(E, W, C)], { equation: 'besw,ewc->besc' })
  const mixed = b.op('Einsum', [answers, gates], { equation: 'besc,bse->bsc' })
  return b.op('Add', [x, mixed])
}

const random = generator(5)
const batch: Batch = {
  feeds: {
    x: tensorOf(
      'float32',
      [8, S, C],
      Array.from({ length: 8 * S * C }, () => random() - 0.5),
    ),
  },
  tokenMask: undefined,
  ids: [],
}

it.each([
  ['each with weights of its own', routed, E],
  ['all in one weight', stacked, 1],
])('experts lose neurons: %s', async (_, mixture, widths) => {
  const model = (): Model => build((b) => mixture(b, mixture(b, b.input('x', ['b', S, C]))))
  const dense = model()
  const view = readModel(dense.graph)
  const batches = [batch]
  expect(view.feedForward.map(({ mixture: found }) => found?.count)).toEqual([E, E])
  expect(findSkipped(view, ampDefaults)).toEqual([])
  const calibration = await calibrate(dense, { batches, moments: true, log: silentLog })
  const decision = await decideAmp(
    { model: dense, view, batches, calibration, log: silentLog },
    { ...ampDefaults, ratio: 0.4 },
  )
  expect(decision.removed / decision.prunable).toBeCloseTo(0.4, 1)
  // Each of its own: as many dimensions as there are experts.
  const ids = view.dimensions.filter(({ role }) => role === 'width').map(({ id }) => id)
  expect(ids).toHaveLength(2 * widths)
  expect(decision.slices.every(({ dimension }) => ids.includes(dimension))).toBe(true)
  const part = { slices: decision.slices, projections: decision.projections }
  const [sliced, masked] = [model(), model()]
  applyPart(masked.graph, part, { as: 'mask' })
  applyPart(sliced.graph, part)
  const { largest } = await checkSlice(sliced, masked, batches, { log: silentLog })
  expect(largest).toBeLessThan(1e-4)
})

it('a mixture is protected with all its experts', () => {
  const view = readModel(build((b) => routed(b, b.input('x', ['b', S, C]))).graph)
  const options = { ...ampDefaults, protect: ['feedForward.0'] }
  const keys = findPrunable(view).map(({ key }) => key)
  expect(keys).toEqual(['feedForward.0', 'feedForward.0.1', 'feedForward.0.2'])
  expect(findPrunable(view).filter((block) => isAskedFor(block, options))).toEqual([])
})
