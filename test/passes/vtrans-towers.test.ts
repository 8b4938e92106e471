/** Models of several outputs, of which one is learned on: what it doesn't hear stays whole, wherever it stands. */
import { expect, it } from 'vitest'
import { decideSelected } from '../../passes/vtrans/decide.js'
import { learnMasks } from '../../passes/vtrans/learn.js'
import { vtransDefaults } from '../../passes/vtrans/options.js'
import { settleMeans } from '../../passes/vtrans/settle.js'
import type { Batch } from '../../src/data/batch.js'
import { generator } from '../../src/data/generator.js'
import type { Value } from '../../src/graph/graph.js'
import { silentLog } from '../../src/log.js'
import { readModel } from '../../src/model/model.js'
import { tensorOf } from '../../src/onnx/numbers.js'
import { type Builder, build } from '../axes/builder.js'

// B batch, C hidden, H heads, D head size, S tokens, W neurons
const [B, C, H, D, S, W] = [8, 8, 2, 4, 5, 16]

function layer(b: Builder, x: Value): Value {
  const split = (): Value => b.transpose(b.reshape(b.linear(x, C, C), 0, S, H, D), 0, 2, 1, 3)
  const scores = b.op('MatMul', [split(), b.transpose(split(), 0, 1, 3, 2)])
  const context = b.op('MatMul', [b.op('Softmax', [scores], { axis: -1 }), split()])
  const merged = b.reshape(b.transpose(context, 0, 2, 1, 3), 0, S, C)
  const stream = b.op('Add', [x, b.linear(merged, C, C)])
  return b.op('Add', [stream, b.linear(b.op('Relu', [b.linear(stream, C, W)]), W, C)])
}

it('masks are learned on the first output alone', { timeout: 60_000 }, async () => {
  const model = build((b) => {
    const [x, y] = [b.input('x', ['batch', S, C]), b.input('y', ['batch', S, C])]
    // The other tower's layer comes first: layers of the part that is learned on are counted otherwise.
    const other = layer(b, y)
    const first = layer(b, x)
    for (const each of [first, other]) b.declare(each, ['batch', S, C])
    b.expose(first)
    return other
  })
  const random = generator(4)
  const numbers = () =>
    tensorOf(
      'float32',
      [B, S, C],
      Array.from({ length: B * S * C }, () => random() - 0.5),
    )
  const batches: Batch[] = [
    { feeds: { x: numbers(), y: numbers() }, tokenMask: undefined, ids: [] },
  ]
  const view = readModel(model.graph)
  expect(view.attention.map(({ layer: at }) => at)).toEqual([0, 1])
  const told: string[] = []
  const log = { ...silentLog, info: (text: string) => told.push(text) }
  const input = { model, view, batches, heldOut: batches, log, threads: 1 }
  const options = { ...vtransDefaults, ratio: 0.4, updates: 4, batchSize: 4 }
  const learned = await learnMasks(input, options)
  expect(new Set(learned.set.masks.map(({ dimension }) => dimension.layer))).toEqual(new Set([1]))
  expect(told.join()).toMatch(/doesn't hear it: layer\.0\.keyValueHeads, layer\.0\.width\./)
  const decided = await decideSelected(input, learned, options)
  expect(decided.slices.every(({ dimension }) => dimension.startsWith('layer.1'))).toBe(true)
  const settled = await settleMeans(input, decided, options)
  expect(Number.isFinite(settled.best)).toBe(true)
})
