/** Heads that are split off and joined along the batch: cut like those of a Reshape and a Transpose. */
import { describe, expect, it } from 'vitest'
import type { Model, Value } from '../../src/graph/graph.js'
import { inspect } from '../../src/inspect/inspect.js'
import { readModel } from '../../src/model/model.js'
import { tensorOf } from '../../src/onnx/numbers.js'
import { type Choice, canLose, compareModels, rewritten } from '../zoo/compare.js'
import { type Builder, build } from './builder.js'

// C hidden, H heads, D head size, S tokens
const [C, H, D, S] = [16, 4, 4, 5]

const feedsOf = (batches: readonly number[]) =>
  batches.map((batch) => ({
    x: tensorOf(
      'float32',
      [batch, S, C],
      Array.from({ length: batch * S * C }, (_, i) => Math.sin(i)),
    ),
  }))

type Parts = (b: Builder, value: Value, axis: number) => Value[]

const bySplit: Parts = (b, value, axis) => b.split(value, axis, H)

/** A Slice for each part, from places that the graph works out: as `chunk` is written. */
const bySlices: Parts = (b, value, axis) => {
  const length = b.op('Gather', [b.op('Shape', [value]), b.integers(axis)], { axis: 0 })
  const rounded = b.op('Add', [length, b.integers(H - 1)])
  const part = b.op('Div', [rounded, b.integers(H)])
  const place = (head: number): Value => b.op('Mul', [part, b.integers(head)])
  return Array.from({ length: H }, (_, head) =>
    b.op('Slice', [value, place(head), place(head + 1), b.integers(axis)]),
  )
}

/** Every dimension that can, without some of its members. */
const without = (model: Model, gone: readonly number[]): Choice =>
  new Map(
    readModel(model.graph)
      .dimensions.filter(canLose)
      .map(({ id, size }) => [
        id,
        Array.from({ length: size }, (_, i) => i).filter((i) => !gone.includes(i)),
      ]),
  )

const attend = (b: Builder, x: Value, split: (value: Value) => Value): Value => {
  const [query, key, value] = [0, 1, 2].map(() => split(b.linear(x, C, C))) as [Value, Value, Value]
  const scores = b.op('MatMul', [query, b.transpose(key, 0, 2, 1)])
  return b.op('MatMul', [b.op('Softmax', [scores], { axis: -1 }), value])
}

const laidAlong = (b: Builder, parts: readonly Value[], axis: number): Value =>
  b.op('Concat', parts, { axis })

const layer = (batch: number | string, parts: Parts, isProjected = true): (() => Model) =>
  written(batch, (b, x) => {
    const context = attend(b, x, (value) => laidAlong(b, parts(b, value, 2), 0))
    const joined = laidAlong(b, parts(b, context, 0), 2)
    return b.op('Add', [x, isProjected ? b.linear(joined, C, C) : joined])
  })

/** Fitted to a model: a stream that comes from a weight, a norm and a feed-forward behind. */
const written =
  (batch: number | string, write: (b: Builder, stream: Value) => Value) => (): Model =>
    build((b) => {
      const said = write(b, b.linear(b.input('x', [batch, S, C]), C, C))
      const normed = b.op('LayerNormalization', [said, b.weight(C), b.weight(C)], { axis: -1 })
      return b.op('Add', [normed, b.linear(b.op('Relu', [b.linear(normed, C, 24)]), 24, C)])
    })

describe('heads that are split off and joined along the batch', { timeout: 60_000 }, () => {
  it.each([
    ['split', 'batch', bySplit, [2, 1]],
    ['split, of a fixed batch', 2, bySplit, [2]],
    ['split, of a batch of one', 1, bySplit, [1]],
    ['sliced where the graph says', 'batch', bySlices, [2, 1]],
  ] as const)('%s', async (_, batch, parts, batches) => {
    const open = layer(batch, parts)
    const seen = await inspect(open())
    expect(seen.attention.map((each) => [each.heads, each.headSize, each.prunable])).toEqual([
      [H, D, true],
    ])
    for (const gone of [[0], [1, 3], [0, 1, 2]])
      expect(await compareModels(open, feedsOf(batches), without(open(), gone))).toBeLessThan(1e-5)
  })

  it('are so after a cut, too', async () => {
    const cut = (): Model => {
      const model = layer('batch', bySplit)()
      return rewritten(model, without(model, [2]), 'slice')
    }
    expect((await inspect(cut())).attention.map(({ heads }) => heads)).toEqual([H - 1])
    expect(await compareModels(cut, feedsOf([2]), without(cut(), [0]))).toBeLessThan(1e-5)
  })

  it.each([
    ['split', bySplit],
    ['sliced', bySlices],
  ])('%s, and laid into the stream by no product', async (_, parts) => {
    const open = layer('batch', parts, false)
    expect((await inspect(open())).attention.map(({ prunable }) => prunable)).toEqual([true])
    expect(await compareModels(open, feedsOf([2, 1]), without(open(), [1]))).toBeLessThan(1e-5)
  })

  it.each([
    ['of the tokens', false],
    ['that are learned', true],
  ])('with queries %s that go on as the stream', async (_, isLearned) => {
    const open = written(2, (b, x) => {
      const asked = isLearned ? b.op('Tile', [b.weight(1, 3, C), b.integers(2, 1, 1)]) : x
      const split = (value: Value): Value => laidAlong(b, bySplit(b, b.linear(value, C, C), 2), 0)
      const [query, key, value] = [asked, x, x].map(split) as [Value, Value, Value]
      const scores = b.op('MatMul', [query, b.transpose(key, 0, 2, 1)])
      const context = b.op('MatMul', [b.op('Softmax', [scores], { axis: -1 }), value])
      return laidAlong(b, bySplit(b, b.op('Add', [query, context]), 0), 2)
    })
    const [block] = (await inspect(open())).attention
    expect([block?.heads, block?.headSize, block?.prunable]).toEqual([H, D, true])
    expect(await compareModels(open, feedsOf([2]), without(open(), [1]))).toBeLessThan(1e-5)
  })

  it('stay where one of them is read alone', async () => {
    const open = written('batch', (b, x) => {
      const context = attend(b, x, (value) => laidAlong(b, bySplit(b, value, 2), 0))
      const parts = bySplit(b, context, 0)
      const first = b.linear(parts[0] as Value, D, C)
      return b.op('Add', [first, b.linear(laidAlong(b, parts, 2), C, C)])
    })
    const { dimensions } = readModel(open().graph)
    const heads = dimensions.find(({ role }) => role === 'keyValueHeads')
    expect(heads?.reasons.map(({ text }) => text)).toEqual(['one of its parts is read alone'])
  })
})
