/** Ways to write a layer that few exports have: read like the others, and sliced like masked. */
import { describe, expect, it } from 'vitest'
import type { Model, Value } from '../../src/graph/graph.js'
import { inspect } from '../../src/inspect/inspect.js'
import { readModel } from '../../src/model/model.js'
import { tensorOf } from '../../src/onnx/numbers.js'
import { type Choice, canLose, compareModels } from '../zoo/compare.js'
import { type Builder, build } from './builder.js'

// C hidden, H heads, D head size, S tokens
const [C, H, D, S] = [16, 4, 4, 5]

const feeds = [2, 1].map((batch) => ({
  x: tensorOf(
    'float32',
    [batch, S, C],
    Array.from({ length: batch * S * C }, (_, i) => Math.sin(i)),
  ),
}))

const make = (write: (b: Builder, x: Value) => Value) => (): Model =>
  build((b) => write(b, b.input('x', ['batch', S, C])))

/** Softmax over the last axis of queries · keysᵀ, times values. */
const attend = (b: Builder, query: Value, keys: Value, value: Value): Value =>
  b.op('MatMul', [b.op('Softmax', [b.op('MatMul', [query, keys])], { axis: -1 }), value])

/** Every dimension that can, without its first members. */
const withoutFirst = (model: Model): Choice =>
  new Map(
    readModel(model.graph)
      .dimensions.filter(canLose)
      .map(({ id, size, granularity }) => [
        id,
        Array.from({ length: size - granularity }, (_, i) => i + granularity),
      ]),
  )

describe('rare ways to write a layer', { timeout: 60_000 }, () => {
  it('projections in groups of channels', async () => {
    const project = (b: Builder, x: Value, from: number, to: number): Value =>
      b.op('Conv', [x, b.weight(to, from / 2, 1), b.weight(to)], { group: 2 })
    const open = make((b, x) => {
      const channels = b.transpose(x, 0, 2, 1)
      const split = (value: Value): Value => b.reshape(value, 0, H, D, S)
      const [query, key, value] = [0, 1, 2].map(() => split(project(b, channels, C, C)))
      const context = attend(
        b,
        b.transpose(query as Value, 0, 1, 3, 2),
        key as Value,
        b.transpose(value as Value, 0, 1, 3, 2),
      )
      const merged = b.reshape(b.transpose(context, 0, 1, 3, 2), 0, C, S)
      const stream = b.op('Add', [channels, project(b, merged, C, C)])
      const wide = b.op('Relu', [project(b, stream, C, 24)])
      return b.op('Add', [stream, project(b, wide, 24, C)])
    })
    const seen = await inspect(open())
    expect(seen.attention.map(({ heads, prunable }) => [heads, prunable])).toEqual([[H, true]])
    expect(seen.feedForward.map(({ width, prunable }) => [width, prunable])).toEqual([[24, true]])
    expect(await compareModels(open, feeds, withoutFirst(open()))).toBeLessThanOrEqual(1e-5)
  })

  it.each([
    ['of their own', 3, 3],
    ['that share keys and values', 3, 1],
  ])('a layer of heads with weights %s', async (_, heads, keyValueHeads) => {
    const open = make((b, x) => {
      const shared = [b.linear(x, C, D), b.linear(x, C, D)]
      const all = Array.from({ length: heads }, () => {
        const own = keyValueHeads === 1 ? shared : [b.linear(x, C, D), b.linear(x, C, D)]
        const [key, value] = own as [Value, Value]
        return attend(b, b.linear(x, C, D), b.transpose(key, 0, 2, 1), value)
      })
      return b.op('Add', [x, b.linear(b.op('Concat', all, { axis: -1 }), heads * D, C)])
    })
    const seen = await inspect(open())
    expect(seen.layers).toBe(1)
    expect(
      seen.attention.map((each) => [each.heads, each.keyValueHeads, each.valueHeadSize]),
    ).toEqual([[heads, keyValueHeads, D]])
    expect(await compareModels(open, feeds, withoutFirst(open()))).toBeLessThanOrEqual(1e-5)
  })

  it('attention among the channels of a head', async () => {
    const open = make((b, x) => {
      const split = (): Value => b.transpose(b.reshape(b.linear(x, C, C), 0, S, H, D), 0, 2, 3, 1)
      const context = attend(b, split(), b.transpose(split(), 0, 1, 3, 2), split())
      return b.op('Add', [x, b.linear(b.reshape(b.transpose(context, 0, 3, 1, 2), 0, S, C), C, C)])
    })
    const seen = await inspect(open())
    expect(seen.attention.map((each) => [each.heads, each.headSize, each.valueHeadSize])).toEqual([
      [H, D, D],
    ])
    expect(await compareModels(open, feeds, withoutFirst(open()))).toBeLessThanOrEqual(1e-5)
  })

  it('layers that work in a narrow stream beside a wide one', async () => {
    const open = make((b, x) => {
      const layer = (wide: Value): Value => {
        const narrow = b.linear(wide, C, 8)
        const split = (): Value =>
          b.transpose(b.reshape(b.linear(narrow, 8, 8), 0, S, 2, 4), 0, 2, 1, 3)
        const context = attend(b, split(), b.transpose(split(), 0, 1, 3, 2), split())
        const merged = b.reshape(b.transpose(context, 0, 2, 1, 3), 0, S, 8)
        const seen = b.op('Add', [narrow, b.linear(merged, 8, 8)])
        const bent = b.op('Relu', [b.linear(seen, 8, 24)])
        const done = b.op('Add', [seen, b.linear(bent, 24, 8)])
        return b.op('Add', [wide, b.linear(done, 8, C)])
      }
      return layer(layer(b.linear(x, C, C)))
    })
    expect((await inspect(open())).hidden).toEqual([C, 8])
    expect(await compareModels(open, feeds, withoutFirst(open()))).toBeLessThanOrEqual(1e-5)
  })

  it.each([
    ['columns', 1, 0],
    ['rows', 0, 8],
  ])('%s that are stored again as a part of another weight count once', async (_, axis, from) => {
    const open = make((b, x) => {
      const part = axis === 1 ? [C, 8] : [8, C]
      const all = Array.from({ length: C * C }, (_, i) => Math.sin(i * i + 1))
      const isPart = (at: number): boolean => (axis === 1 ? at % C < 8 : Math.floor(at / C) >= from)
      const own = all.filter((_, at) => isPart(at))
      const wide = b.op('MatMul', [x, b.numbers(all, C, C)])
      const narrow =
        axis === 1 ? x : b.op('Slice', [x, b.integers(0), b.integers(8), b.integers(2)])
      const again = b.op('MatMul', [narrow, b.numbers(own, ...part)])
      return b.op('Concat', [wide, again], { axis: -1 })
    })
    expect((await inspect(open())).parameters).toBe(C * C)
  })
})
