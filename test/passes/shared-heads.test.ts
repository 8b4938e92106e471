/** AMP on graphs by hand: heads that layers share, inputs of few different values, budgets that can't be met. */
import { expect, it } from 'vitest'
import { decideAmp } from '../../passes/amp/decide.js'
import { type AmpOptions, ampDefaults } from '../../passes/amp/options.js'
import { calibrate } from '../../src/calibrate/calibrate.js'
import type { Batch } from '../../src/data/batch.js'
import { generator } from '../../src/data/generator.js'
import type { Model, Value } from '../../src/graph/graph.js'
import { silentLog } from '../../src/log.js'
import { readModel } from '../../src/model/model.js'
import { tensorOf } from '../../src/onnx/numbers.js'
import { applyPart } from '../../src/plan/apply.js'
import { checkSlice } from '../../src/prune/check.js'
import { type Builder, build } from '../axes/builder.js'

// C hidden, H heads, D head size, S tokens
const [C, H, D, S] = [16, 4, 4, 6]

function layer(b: Builder, x: Value, bias: Value): Value {
  const split = (): Value => b.transpose(b.reshape(b.linear(x, C, C), 0, S, H, D), 0, 2, 1, 3)
  const scores = b.op('Add', [b.op('MatMul', [split(), b.transpose(split(), 0, 1, 3, 2)]), bias])
  const context = b.op('MatMul', [b.op('Softmax', [scores], { axis: -1 }), split()])
  const merged = b.reshape(b.transpose(context, 0, 2, 1, 3), 0, S, C)
  const stream = b.op('Add', [x, b.linear(merged, C, C)])
  const wide = b.op('Relu', [b.linear(stream, C, 32)])
  return b.op('Add', [stream, b.linear(wide, 32, C)])
}

/** Two layers whose heads are one dimension, through a bias that both read. */
const model = (): Model =>
  build((b) => {
    const bias = b.weight(1, H, S, S)
    return layer(b, layer(b, b.input('x', ['batch', S, C]), bias), bias)
  })

function batchOf(numberAt: (i: number) => number): Batch {
  const numbers = Array.from({ length: 8 * S * C }, (_, i) => numberAt(i))
  return {
    feeds: { x: tensorOf('float32', [8, S, C], numbers) },
    tokenMask: undefined,
    ids: [],
  }
}

async function decide(batch: Batch, options: Partial<AmpOptions>) {
  const dense = model()
  const batches = [batch]
  const calibration = await calibrate(dense, { batches, moments: true, log: silentLog })
  const view = readModel(dense.graph)
  return decideAmp(
    { model: dense, view, batches, calibration, log: silentLog },
    { ...ampDefaults, ...options },
  )
}

const random = generator(3)
const drawn = batchOf(() => random() - 0.5)

it.each([0.3, 0.5, 0.7])(
  'layers that share heads are re-fitted without those that went, at %f',
  async (ratio) => {
    const part = await decide(drawn, { ratio })
    const [sliced, masked] = [model(), model()]
    applyPart(masked.graph, part, { as: 'mask', view: readModel(masked.graph) })
    applyPart(sliced.graph, part)
    const { largest, bound } = await checkSlice(sliced, masked, [drawn], { log: silentLog })
    expect(largest).toBeLessThanOrEqual(bound)
  },
)

it('inputs of few different values are enough to decide on', async () => {
  const part = await decide(
    batchOf((i) => Math.floor(i / C) % 2),
    { ratio: 0.4 },
  )
  expect(part.slices.length).toBeGreaterThan(0)
})

it('says why less goes than was asked for, and nothing where it was met', async () => {
  const met = await decide(drawn, { ratio: 0.4 })
  expect(met.shortfall).toBeUndefined()
  const short = await decide(drawn, { ratio: 0.99, allocation: 'uniform', recover: 'none' })
  expect(short.shortfall).toMatch(/99.0 % were asked for: every block keeps at least one unit/)
})
