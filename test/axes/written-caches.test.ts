/** Caches of a fixed length, whose places a step writes by number: heads go from them as from caches that grow. */
import { expect, it } from 'vitest'
import { findAddressedRows } from '../../src/data/addressed-rows.js'
import type { Model, Value } from '../../src/graph/graph.js'
import { inspect } from '../../src/inspect/inspect.js'
import { tensorOf } from '../../src/onnx/numbers.js'
import { compareModels } from '../zoo/compare.js'
import { type Builder, build } from './builder.js'

// B batch, C hidden, H heads, D head size, P places of the cache, S tokens of a step
const [B, C, H, D, P, S] = [2, 16, 4, 4, 8, 3]

type Write = (b: Builder, past: Value, places: Value, update: Value) => Value

const decoder = (write: Write): Model =>
  build((b) => {
    const x = b.input('x', ['batch', S, C])
    const places = b.input('places', [S], 'int64')
    const split = (value: Value): Value => b.transpose(b.reshape(value, 0, S, H, D), 0, 2, 1, 3)
    const [key, value] = ['key', 'value'].map((name) => {
      const past = b.input(`past.${name}`, ['batch', H, P, D])
      const present = write(b, past, places, split(b.linear(x, C, C)))
      b.expose(present)
      return present
    }) as [Value, Value]
    const scores = b.op('MatMul', [split(b.linear(x, C, C)), b.transpose(key, 0, 1, 3, 2)])
    const context = b.op('MatMul', [b.op('Softmax', [scores], { axis: -1 }), value])
    const merged = b.reshape(b.transpose(context, 0, 2, 1, 3), 0, S, C)
    return b.op('Add', [x, b.linear(merged, C, C)])
  })

/** The size of the cache along an axis, as a number. */
const sizeOf = (b: Builder, past: Value, axis: number): Value =>
  b.op('Gather', [b.op('Shape', [past]), b.whole(axis)], { axis: 0 })

const writes: Record<string, Write> = {
  // The index has the cache's shape with as many places as are written.
  'places of all heads at once': (b, past, places, update) => {
    const lengths = b.op('Shape', [places])
    const shape = b.op('ScatterElements', [b.op('Shape', [past]), b.integers(2), lengths])
    const index = b.op('Expand', [b.op('Unsqueeze', [places, b.integers(0, 1, 3)]), shape])
    return b.op('ScatterElements', [past, index, update], { axis: 2 })
  },
  'places behind numbers of the sample and the head': (b, past, places, update) => {
    const count = (axis: number, ...dims: number[]): Value =>
      b.reshape(b.op('Range', [b.whole(0), sizeOf(b, past, axis), b.whole(1)]), ...dims)
    const [samples, heads] = [count(0, -1, 1, 1), count(1, -1, 1)]
    const all = b.op('Add', [b.op('Add', [samples, heads]), places])
    const shape = b.op('Shape', [all])
    const parts = [samples, heads, places].map((each) =>
      b.op('Unsqueeze', [b.op('Expand', [each, shape]), b.integers(-1)]),
    )
    return b.op('ScatterND', [past, b.op('Concat', parts, { axis: -1 }), update])
  },
}

it.each(Object.keys(writes))('by %s', async (name) => {
  const open = (): Model => decoder(writes[name] as Write)
  const seen = await inspect(open())
  expect(seen.attention).toMatchObject([{ heads: H, prunable: true }])
  const numbers = (...dims: number[]) =>
    tensorOf(
      'float32',
      dims,
      Array.from({ length: dims.reduce((all, each) => all * each, 1) }, (_, i) => Math.sin(i)),
    )
  const feeds = {
    x: numbers(B, S, C),
    places: tensorOf('int64', [S], [5, 6, 7]),
    'past.key': numbers(B, H, P, D),
    'past.value': numbers(B, H, P, D),
  }
  const choice = new Map([['layer.0.keyValueHeads', [0, 3]]])
  expect(await compareModels(open, [feeds], choice)).toBeLessThanOrEqual(1e-5)
  // Places are no rows of samples.
  expect(findAddressedRows(open().graph).size).toBe(0)
})

it('by numbers that count through one empty tensor for queries and keys, which the exporter made of two', async () => {
  const open = (): Model =>
    build((b) => {
      const x = b.input('x', ['batch', S, C])
      const split = (size: number): Value =>
        b.transpose(b.reshape(b.linear(x, C, H * size), 0, S, H, size), 0, 2, 1, 3)
      const [query, key, value] = [split(D), split(D), split(D)] as [Value, Value, Value]
      // Zeros [batch, H, S, 2·D]; each half is written by an index of all four places.
      const leading = b.op('Slice', [b.op('Shape', [query]), b.integers(0), b.integers(3)])
      const shape = b.op('Concat', [leading, b.integers(2 * D)], { axis: 0 })
      const empty = b.op('ConstantOfShape', [shape])
      const count = (axis: number, ...dims: number[]): Value =>
        b.reshape(b.op('Range', [b.whole(0), sizeOf(b, empty, axis), b.whole(1)]), ...dims)
      const write = (into: Value, from: number, update: Value): Value => {
        const last = b.op('Range', [b.whole(from), b.whole(from + D), b.whole(1)])
        const counted = [count(0, -1, 1, 1, 1), count(1, -1, 1, 1), count(2, -1, 1), last]
        const all = counted.reduce((sum, each) => b.op('Add', [sum, each]))
        const parts = counted.map((each) =>
          b.op('Unsqueeze', [b.op('Expand', [each, b.op('Shape', [all])]), b.integers(-1)]),
        )
        return b.op('ScatterND', [into, b.op('Concat', parts, { axis: -1 }), update])
      }
      const [wide, keys] = [query, key].map((each) => write(write(empty, 0, each), D, split(D)))
      const scores = b.op('MatMul', [wide as Value, b.transpose(keys as Value, 0, 1, 3, 2)])
      const context = b.op('MatMul', [b.op('Softmax', [scores], { axis: -1 }), value])
      const merged = b.reshape(b.transpose(context, 0, 2, 1, 3), 0, S, C)
      return b.op('Add', [x, b.linear(merged, C, C)])
    })
  const seen = await inspect(open())
  expect(seen.attention).toMatchObject([{ heads: H, prunable: true }])
  const x = tensorOf(
    'float32',
    [B, S, C],
    Array.from({ length: B * S * C }, (_, i) => Math.sin(i)),
  )
  const choice = new Map([['layer.0.keyValueHeads', [0, 3]]])
  expect(await compareModels(open, [{ x }], choice)).toBeLessThanOrEqual(1e-5)
})
