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

  it('keys of a batch that bears another name: their heads stay, whose number nobody can tell', async () => {
    const open = (): Model =>
      build((b) => {
        const x = b.input('x', ['batch', S, C])
        const y = b.input('y', ['other', S, C])
        const batch = b.op('Slice', [b.op('Shape', [x]), b.integers(0), b.integers(1)])
        const dims = b.op('Concat', [batch, b.integers(S, -1, D)], { axis: 0 })
        const split = (value: Value): Value =>
          b.transpose(b.op('Reshape', [b.linear(value, C, C), dims]), 0, 2, 1, 3)
        const context = attend(b, split(x), b.transpose(split(y), 0, 1, 3, 2), split(y))
        const merged = b.reshape(b.transpose(context, 0, 2, 1, 3), 0, S, C)
        const stream = b.op('Add', [x, b.linear(merged, C, C)])
        return b.op('Add', [stream, b.linear(b.op('Relu', [b.linear(stream, C, 24)]), 24, C)])
      })
    const seen = await inspect(open())
    expect(seen.attention.map(({ prunable }) => prunable)).toEqual([false])
    expect(seen.feedForward.map(({ prunable }) => prunable)).toEqual([true])
    const both = feeds.map(({ x }) => ({ x, y: x }))
    expect(await compareModels(open, both, withoutFirst(open()))).toBeLessThanOrEqual(1e-5)
  })

  it('heads that are mixed and normed before they weigh the values', async () => {
    const open = make((b, x) => {
      const split = (): Value => b.transpose(b.reshape(b.linear(x, C, C), 0, S, H, D), 0, 2, 1, 3)
      const scores = b.op('MatMul', [split(), b.transpose(split(), 0, 1, 3, 2)])
      const shares = b.transpose(b.op('Softmax', [scores], { axis: -1 }), 0, 2, 3, 1)
      const mixed = b.op('MatMul', [shares, b.weight(H, H)])
      const normed = b.op('LayerNormalization', [mixed, b.weight(H), b.weight(H)], { axis: -1 })
      const context = b.op('MatMul', [b.transpose(normed, 0, 3, 1, 2), split()])
      const joined = b.reshape(b.transpose(context, 0, 2, 1, 3), 0, S, C)
      return b.op('Add', [x, b.linear(joined, C, C)])
    })
    const seen = await inspect(open())
    expect(seen.attention.map(({ heads, prunable }) => [heads, prunable])).toEqual([[H, true]])
    expect(await compareModels(open, feeds, withoutFirst(open()))).toBeLessThanOrEqual(1e-5)
  })

  it.each([
    ['LSTM', 4],
    ['GRU', 3],
    ['RNN', 1],
  ])('%s in front of a layer, and one that reads a feed-forward’s width', async (op, gates) => {
    const recur = (b: Builder, x: Value, from: number): Value => {
      const weights = [b.weight(1, gates * C, from), b.weight(1, gates * C, C)]
      const [y] = b.ops(op, [b.transpose(x, 1, 0, 2), ...weights], 1, '', { hidden_size: C })
      return b.transpose(b.reshape(y as Value, 0, 0, 0, C), 2, 0, 1, 3)
    }
    const open = make((b, x) => {
      const seen = b.op('Squeeze', [recur(b, x, C), b.integers(2)])
      const split = (): Value =>
        b.transpose(b.reshape(b.linear(seen, C, C), 0, S, H, D), 0, 2, 1, 3)
      const context = attend(b, split(), b.transpose(split(), 0, 1, 3, 2), split())
      const joined = b.reshape(b.transpose(context, 0, 2, 1, 3), 0, S, C)
      const stream = b.op('Add', [seen, b.linear(joined, C, C)])
      const wide = b.op('Relu', [b.linear(stream, C, 24)])
      return b.op('Add', [stream, b.op('Squeeze', [recur(b, wide, 24), b.integers(2)])])
    })
    const seen = await inspect(open())
    expect(seen.attention.map(({ heads, prunable }) => [heads, prunable])).toEqual([[H, true]])
    expect(
      seen.dimensions.filter(({ size }) => size === 24).map(({ sliceable }) => sliceable),
    ).toEqual([true])
    expect(await compareModels(open, feeds, withoutFirst(open()))).toBeLessThanOrEqual(1e-5)
  })

  it('a feed-forward behind a gate that says how much of the stream stays', async () => {
    const open = make((b, x) => {
      const stream = b.linear(x, C, C)
      const said = b.linear(b.op('Relu', [b.linear(stream, C, 24)]), 24, C)
      const both = b.op('Concat', [stream, said], { axis: -1 })
      const gate = b.op('Sigmoid', [b.linear(both, 2 * C, C)])
      const stays = b.op('Mul', [b.op('Sub', [b.scalar(1), gate]), stream])
      return b.op('Add', [stays, b.op('Mul', [gate, said])])
    })
    const seen = await inspect(open())
    expect(seen.feedForward.map(({ width, prunable }) => [width, prunable])).toEqual([[24, true]])
    expect(await compareModels(open, feeds, withoutFirst(open()))).toBeLessThanOrEqual(1e-5)
  })

  it('a feed-forward that joins several streams beside each other, mixed anew', async () => {
    const open = make((b, x) => {
      const parts = [x, b.linear(x, C, C)].map((each) => b.op('Unsqueeze', [each, b.integers(2)]))
      // [batch, S, 2 streams, C], and what each stream gets of each: [batch, S, 2, 2]
      const streams = b.op('Concat', parts, { axis: 2 })
      const said = b.reshape(b.op('Sigmoid', [b.linear(x, C, 4)]), 0, 0, 2, 2)
      const shares = b.op('Softmax', [b.linear(x, C, 2)], { axis: -1 })
      const weighed = b.op('Mul', [b.op('Unsqueeze', [shares, b.integers(-1)]), streams])
      const read = b.op('ReduceSum', [weighed, b.integers(2)], { keepdims: 0 })
      const change = b.linear(b.op('Relu', [b.linear(read, C, 24)]), 24, C)
      const spread = b.op('Mul', [
        b.op('Unsqueeze', [shares, b.integers(-1)]),
        b.op('Unsqueeze', [change, b.integers(2)]),
      ])
      const mixed = b.op('MatMul', [b.transpose(said, 0, 1, 3, 2), streams])
      return b.op('ReduceSum', [b.op('Add', [spread, mixed]), b.integers(2)], { keepdims: 0 })
    })
    const seen = await inspect(open())
    expect(seen.feedForward.map(({ width, prunable }) => [width, prunable])).toEqual([[24, true]])
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

  const toHeads = (b: Builder, x: Value): Value =>
    b.transpose(b.reshape(b.linear(x, C, C), 0, S, H, D), 0, 2, 1, 3)
  const joined = (b: Builder, x: Value, context: Value): Value =>
    b.op('Add', [x, b.linear(b.reshape(b.transpose(context, 0, 2, 1, 3), 0, S, C), C, C)])
  const products = (b: Builder, x: Value): Value =>
    b.op('MatMul', [toHeads(b, x), b.transpose(toHeads(b, x), 0, 1, 3, 2)])
  const lower = (b: Builder): Value => b.op('Trilu', [b.filled(1, S, S)], { upper: 0 })

  /** How scores weigh the values, without a Softmax node; whether no query sees what comes after it. */
  const weighings: Record<string, [(b: Builder, scores: Value) => Value, boolean]> = {
    'a softmax spelled out': [
      (b, scores) => {
        const top = b.op('ReduceMax', [scores, b.integers(-1)])
        const raised = b.op('Exp', [b.op('Sub', [scores, top])])
        return b.op('Div', [raised, b.op('ReduceSum', [raised, b.integers(-1)])])
      },
      false,
    ],
    'a sigmoid': [(b, scores) => b.op('Sigmoid', [scores]), false],
    'squared positive scores': [
      (b, scores) => b.op('Pow', [b.op('Relu', [scores]), b.scalar(2)]),
      false,
    ],
    'scores that fade and stop at the diagonal': [
      (b, scores) => b.op('Mul', [scores, b.op('Mul', [lower(b), b.weight(H, 1, 1)])]),
      true,
    ],
    'a 1 × 1 convolution over the heads before the softmax': [
      (b, scores) => b.op('Softmax', [b.op('Conv', [scores, b.weight(H, H, 1, 1)])], { axis: -1 }),
      false,
    ],
  }
  it.each(Object.entries(weighings))('%s is attention', async (_, [weigh, causal]) => {
    const open = make((b, x) =>
      joined(b, x, b.op('MatMul', [weigh(b, products(b, x)), toHeads(b, x)])),
    )
    const seen = (await inspect(open())).attention
    expect(
      seen.map((each) => [each.kind, each.causal, each.heads, each.headSize, each.valueHeadSize]),
    ).toEqual([['self', causal, H, D, D]])
    expect(await compareModels(open, feeds, withoutFirst(open()))).toBeLessThanOrEqual(1e-5)
  })

  it.each([
    ['positive features', (b: Builder, value: Value) => b.op('Elu', [value]), 0],
    [
      'features that sum to one',
      (b: Builder, value: Value) => b.op('Softmax', [value], { axis: -1 }),
      1,
    ],
  ])('keys and values summed over the tokens first, with %s', async (_, bend, isEntangled) => {
    const open = make((b, x) => {
      const [query, key] = [bend(b, toHeads(b, x)), b.op('Elu', [toHeads(b, x)])]
      const sums = b.op('MatMul', [b.transpose(key, 0, 1, 3, 2), toHeads(b, x)])
      return joined(b, x, b.op('MatMul', [query, sums]))
    })
    const seen = await inspect(open())
    expect(
      seen.attention.map((each) => [each.kind, each.heads, each.headSize, each.valueHeadSize]),
    ).toEqual([['self', H, D, D]])
    expect(seen.attention[0]?.prunable).toBe(true)
    expect(seen.dimensions.find(({ role }) => role === 'headSize')?.sliceable).toBe(!isEntangled)
    expect(await compareModels(open, feeds, withoutFirst(open()))).toBeLessThanOrEqual(1e-5)
  })

  it.each(['summed', 'weighed'])('scores of pairs, member by member, then %s', async (how) => {
    const open = make((b, x) => {
      const split = (axis: number): Value =>
        b.op('Unsqueeze', [b.reshape(b.linear(x, C, C), 0, S, H, D), b.integers(axis)])
      const pairs = b.op(how === 'summed' ? 'Mul' : 'Add', [split(2), split(1)])
      const scores =
        how === 'summed'
          ? b.op('ReduceSum', [pairs, b.integers(-1)], { keepdims: 0 })
          : b.op('Einsum', [b.op('Tanh', [pairs]), b.weight(H, D)], { equation: 'bijhd,hd->bijh' })
      const weights = b.op('Softmax', [b.transpose(scores, 0, 3, 1, 2)], { axis: -1 })
      return joined(b, x, b.op('MatMul', [weights, toHeads(b, x)]))
    })
    const seen = (await inspect(open())).attention
    expect(seen.map((each) => [each.kind, each.heads, each.headSize])).toEqual([['self', H, D]])
    expect(await compareModels(open, feeds, withoutFirst(open()))).toBeLessThanOrEqual(1e-5)
  })

  it.each(['a new axis', 'the batch'])(
    'heads split off and put together along %s',
    async (along) => {
      const isNew = along === 'a new axis'
      const open = make((b, x) => {
        const split = (): Value => {
          const parts = b.split(b.linear(x, C, C), 2, H)
          const all = isNew ? parts.map((each) => b.op('Unsqueeze', [each, b.integers(0)])) : parts
          return b.op('Concat', all, { axis: 0 })
        }
        const keys = b.transpose(split(), ...(isNew ? [0, 1, 3, 2] : [0, 2, 1]))
        const apart = b.split(attend(b, split(), keys, split()), 0, H)
        const all = isNew ? apart.map((each) => b.op('Squeeze', [each, b.integers(0)])) : apart
        return b.op('Add', [x, b.linear(b.op('Concat', all, { axis: -1 }), C, C)])
      })
      const seen = (await inspect(open())).attention
      expect(seen.map(({ heads, headSize }) => [heads, headSize])).toEqual([[H, D]])
      expect(await compareModels(open, feeds, withoutFirst(open()))).toBeLessThanOrEqual(1e-5)
    },
  )

  it('tokens that are pooled by a score of each as they are: no attention', async () => {
    const open = make((b, x) => {
      const shares = b.op('Softmax', [b.linear(x, C, 3)], { axis: 1 })
      return b.linear(b.op('MatMul', [b.transpose(shares, 0, 2, 1), x]), C, C)
    })
    expect((await inspect(open())).attention).toEqual([])
  })

  it('scores of which a long way reads every value twice are looked at once', async () => {
    const open = make((b, x) => {
      const split = (): Value => b.transpose(b.reshape(b.linear(x, C, C), 0, S, H, D), 0, 2, 1, 3)
      // 2⁶⁰ ways from the bias to the input.
      let bias = b.op('ReduceMean', [x, b.integers(1, 2)])
      for (let step = 0; step < 60; step++)
        bias = b.op('Mul', [b.op('Add', [bias, bias]), b.scalar(0.5)])
      const scores = b.op('MatMul', [split(), b.transpose(split(), 0, 1, 3, 2)])
      const sum = b.op('Add', [b.reshape(bias, -1, 1, 1, 1), scores])
      const context = b.op('MatMul', [b.op('Softmax', [sum], { axis: -1 }), split()])
      return b.op('Add', [x, b.linear(b.reshape(b.transpose(context, 0, 2, 1, 3), 0, S, C), C, C)])
    })
    expect((await inspect(open())).attention.map(({ heads }) => heads)).toEqual([H])
  })

  it('a Relu of which only the rounding is left', async () => {
    const open = make((b, x) => {
      const rounded = b.op('QuantizeLinear', [b.linear(x, C, 24), b.scalar(0.05), b.bytes([0])])
      const wide = b.op('DequantizeLinear', [rounded, b.scalar(0.05), b.bytes([0])])
      return b.op('Add', [x, b.linear(wide, 24, C)])
    })
    const seen = (await inspect(open())).feedForward
    expect(seen.map(({ width, prunable }) => [width, prunable])).toEqual([[24, true]])
    expect(await compareModels(open, feeds, withoutFirst(open()))).toBeLessThanOrEqual(1e-5)
  })

  it('windows of an image of fixed size, beside scores of positions by a product: no heads', async () => {
    const open = (): Model =>
      build((b) => {
        const image = b.input('x', ['batch', 3, 8, 8])
        const patches = b.op('Conv', [image, b.weight(C, 3, 2, 2)], { strides: [2, 2] })
        const grid = b.transpose(patches, 0, 2, 3, 1)
        const split = (x: Value, tokens: number): Value =>
          b.transpose(b.reshape(b.linear(x, C, C), -1, tokens, H, D), 0, 2, 1, 3)
        const merge = (context: Value, tokens: number): Value =>
          b.linear(b.reshape(b.transpose(context, 0, 2, 1, 3), -1, tokens, C), C, C)
        // Four windows of four tokens.
        const windows = b.reshape(
          b.transpose(b.reshape(grid, -1, 2, 2, 2, 2, C), 0, 1, 3, 2, 4, 5),
          -1,
          4,
          C,
        )
        const turned = b.transpose(split(windows, 4), 0, 1, 3, 2)
        const inside = merge(attend(b, split(windows, 4), turned, split(windows, 4)), 4)
        const apart = b.transpose(b.reshape(inside, -1, 2, 2, 2, 2, C), 0, 1, 3, 2, 4, 5)
        const tokens = b.reshape(b.op('Add', [grid, b.reshape(apart, -1, 4, 4, C)]), -1, 16, C)
        // All tokens; a query meets a row of keys by what it makes of it.
        const query = split(tokens, 16)
        const scores = b.op('MatMul', [query, b.transpose(split(tokens, 16), 0, 1, 3, 2)])
        const rows = b.reshape(b.op('MatMul', [query, b.weight(D, 4)]), -1, H, 16, 4, 1)
        const sum = b.op('Add', [b.reshape(scores, -1, H, 16, 4, 4), rows])
        const shares = b.op('Softmax', [b.reshape(sum, -1, H, 16, 16)], { axis: -1 })
        const context = b.op('MatMul', [shares, split(tokens, 16)])
        return b.op('Add', [tokens, merge(context, 16)])
      })
    const seen = (await inspect(open())).attention
    expect(seen.map(({ heads }) => heads)).toEqual([H, H])
    const image = tensorOf(
      'float32',
      [2, 3, 8, 8],
      Array.from({ length: 384 }, (_, i) => Math.sin(i)),
    )
    expect(await compareModels(open, [{ x: image }], withoutFirst(open()))).toBeLessThanOrEqual(
      1e-5,
    )
  })

  it('heads beside as many graphs as the numbers of the nodes say', async () => {
    const open = (): Model =>
      build((b) => {
        const nodes = b.input('x', ['nodes', C])
        const graph = b.input('graph', ['nodes'], 'int64')
        const last = b.op('ReduceMax', [graph], { keepdims: 0 })
        const count = b.op('Add', [last, b.whole(1)])
        const sizes = (...each: (Value | number)[]): Value =>
          b.op(
            'Concat',
            each.map((size) => (typeof size === 'number' ? b.integers(size) : b.reshape(size, 1))),
            { axis: 0 },
          )
        const x = b.transpose(b.op('Reshape', [nodes, sizes(count, -1, C)]), 1, 0, 2)
        // [tokens, graphs, C] → [graphs · heads, tokens, size], as torch splits heads.
        const all = b.op('Mul', [count, b.whole(H)])
        const split = (): Value =>
          b.transpose(b.op('Reshape', [b.linear(x, C, C), sizes(-1, all, D)]), 1, 0, 2)
        const context = attend(b, split(), b.transpose(split(), 0, 2, 1), split())
        const merged = b.op('Reshape', [b.transpose(context, 1, 0, 2), sizes(-1, count, C)])
        return b.op('Add', [x, b.linear(merged, C, C)])
      })
    const seen = (await inspect(open())).attention
    expect(seen.map(({ heads, prunable }) => [heads, prunable])).toEqual([[H, true]])
    const x = tensorOf(
      'float32',
      [6, C],
      Array.from({ length: 6 * C }, (_, i) => Math.sin(i)),
    )
    const some = [1, 2].map((graphs) => ({
      x,
      graph: tensorOf(
        'int64',
        [6],
        Array.from({ length: 6 }, (_, i) => Math.floor((i * graphs) / 6)),
      ),
    }))
    expect(await compareModels(open, some, withoutFirst(open()))).toBeLessThanOrEqual(1e-5)
  })

  it.each([
    ['handed on by the branch', 1, 1, true],
    ['read in the other branch by a weight with their heads', 1, H, false],
    ['worked on in a branch that may run', 0, 1, false],
  ])('a branch that the sizes decide: scores %s', async (_, axis, heads, isPrunable) => {
    const open = make((b, x) => {
      const split = (): Value => b.transpose(b.reshape(b.linear(x, C, C), 0, S, H, D), 0, 2, 1, 3)
      const scores = b.op('MatMul', [split(), b.transpose(split(), 0, 1, 3, 2)])
      // Sizes of queries and keys, as an export asks whether they are equal; or those of samples, which vary.
      const sizeOf = (value: Value): Value =>
        b.op('Gather', [b.op('Shape', [value]), b.whole(axis)], { axis: 0 })
      const isOther = b.op('Not', [b.op('Equal', [sizeOf(x), axis === 1 ? sizeOf(x) : b.whole(1)])])
      const chosen = b.branch(
        isOther,
        (inner) => inner.op('Mul', [scores, inner.weight(1, heads, 1, 1)]),
        (inner) => inner.op('Identity', [scores]),
      )
      const context = b.op('MatMul', [
        b.op('Softmax', [b.op('Add', [scores, chosen])], { axis: -1 }),
        split(),
      ])
      const merged = b.reshape(b.transpose(context, 0, 2, 1, 3), 0, S, C)
      return b.op('Add', [x, b.linear(merged, C, C)])
    })
    const seen = (await inspect(open())).attention
    // What is read inside of a branch that may run stays as it is.
    expect(seen.some(({ prunable }) => prunable)).toBe(isPrunable)
    expect(await compareModels(open, feeds, withoutFirst(open()))).toBeLessThanOrEqual(1e-5)
  })

  it('experts whose answers a product with the shares puts together', async () => {
    const E = 3
    const open = make((b, x) => {
      const gates = b.op('Softmax', [b.linear(x, C, E)], { axis: -1 })
      const wide = b.op('Relu', [
        b.op('Einsum', [x, b.weight(E, C, 24)], { equation: 'bsc,ecw->besw' }),
      ])
      const answers = b.op('Einsum', [wide, b.weight(E, 24, C), gates], {
        equation: 'besw,ewc,bse->bsc',
      })
      return b.op('Add', [x, answers])
    })
    const seen = (await inspect(open())).feedForward
    expect(seen.map(({ width, experts }) => [width, experts?.count])).toEqual([[24, E]])
    expect(await compareModels(open, feeds, withoutFirst(open()))).toBeLessThanOrEqual(1e-5)
  })

  it('layers that mix tokens and channels by feed-forwards, each with a name of its own', async () => {
    const open = make((b, x) => {
      const mix = (value: Value, size: number, width: number): Value =>
        b.linear(b.op('Relu', [b.linear(value, size, width)]), width, size)
      const layer = (stream: Value): Value => {
        const turned = mix(b.transpose(stream, 0, 2, 1), S, 12)
        const mixed = b.op('Add', [stream, b.transpose(turned, 0, 2, 1)])
        return b.op('Add', [mixed, mix(mixed, C, 24)])
      }
      return layer(layer(b.linear(x, C, C)))
    })
    const seen = await inspect(open())
    expect([seen.layers, seen.hidden]).toEqual([2, C])
    const ids = seen.dimensions.map(({ id }) => id)
    expect(new Set(ids).size).toBe(ids.length)
    expect(await compareModels(open, feeds, withoutFirst(open()))).toBeLessThanOrEqual(1e-5)
  })

  it('two streams that read each other in turn, and a last look: cross-attention of two layers', async () => {
    const open = () =>
      build((b) => {
        const x = b.linear(b.input('x', ['batch', S, C]), C, C)
        const y = b.linear(b.input('y', ['batch', 7, C]), C, C)
        const heads = (value: Value, n: number): Value =>
          b.transpose(b.reshape(b.linear(value, C, C), 0, n, H, D), 0, 2, 1, 3)
        const read = (to: Value, n: number, from: Value, m: number): Value => {
          const [key, value] = [heads(from, m), heads(from, m)]
          const context = attend(b, heads(to, n), b.transpose(key, 0, 1, 3, 2), value)
          const merged = b.reshape(b.transpose(context, 0, 2, 1, 3), 0, n, C)
          return b.op('Add', [to, b.linear(merged, C, C)])
        }
        const layer = ([tokens, image]: readonly [Value, Value]): [Value, Value] => {
          const own = read(tokens, S, tokens, S)
          const seen = read(own, S, image, 7)
          const bent = b.linear(b.op('Relu', [b.linear(seen, C, 24)]), 24, C)
          const now = b.op('Add', [seen, bent])
          return [now, read(image, 7, now, S)]
        }
        const [tokens, image] = layer(layer([x, y]))
        return read(tokens, S, image, 7)
      })
    const seen = await inspect(open())
    const layer = ['self', 'cross', 'cross']
    expect(seen.attention.map(({ kind }) => kind)).toEqual([...layer, ...layer, 'cross'])
    expect([seen.layers, seen.hidden]).toEqual([2, C])
  })

  it('a feed-forward of pointwise convolutions on the stream and what attention says of it', async () => {
    const open = make((b, x) => {
      const context = attend(
        b,
        b.linear(x, C, C),
        b.transpose(b.linear(x, C, C), 0, 2, 1),
        b.linear(x, C, C),
      )
      const stream = b.transpose(x, 0, 2, 1)
      const both = b.op('Concat', [stream, b.transpose(b.linear(context, C, C), 0, 2, 1)], {
        axis: 1,
      })
      const wide = b.op('Relu', [b.op('Conv', [both, b.weight(24, 2 * C, 1), b.weight(24)])])
      return b.op('Add', [stream, b.op('Conv', [wide, b.weight(C, 24, 1), b.weight(C)])])
    })
    expect((await inspect(open())).feedForward.map(({ width }) => width)).toEqual([24])
    expect(await compareModels(open, feeds, withoutFirst(open()))).toBeLessThanOrEqual(1e-5)
  })

  it('a scale made of the size in half precision keeps its value', async () => {
    const open = make((b, x) => {
      const [query, key, value] = [toHeads(b, x), toHeads(b, x), toHeads(b, x)]
      const size = b.op('Slice', [b.op('Shape', [query]), b.integers(3), b.integers(4)])
      const half = b.op('Sqrt', [b.op('Cast', [size], { to: 10 })])
      const scaled = b.op('Div', [query, b.op('Cast', [half], { to: 1 })])
      return joined(b, x, attend(b, scaled, b.transpose(key, 0, 1, 3, 2), value))
    })
    const choice = new Map([['layer.0.headSize', [1, 2, 3]]])
    expect(await compareModels(open, feeds, choice)).toBeLessThanOrEqual(1e-5)
  })

  it('members that an index addresses among those of the batch stay', () => {
    const model = make((b, x) => {
      const columns = b.linear(x, C, C)
      const some = b.op('Gather', [b.reshape(columns, -1), b.integers(0, 3, 7, 20)])
      return b.op('Add', [b.linear(columns, C, 4), some])
    })
    const { dimensions } = readModel(model().graph)
    expect(dimensions.filter(canLose)).toEqual([])
  })

  it('a feed-forward beside attention whose sums are quantised', async () => {
    const open = make((b, x) => {
      const round = (value: Value): Value => {
        const operands = [b.scalar(0.05), b.bytes([100])]
        const [scale, zero] = operands as [Value, Value]
        return b.op('DequantizeLinear', [b.op('QuantizeLinear', [value, scale, zero]), scale, zero])
      }
      const own = round(x)
      const context = attend(
        b,
        toHeads(b, own),
        b.transpose(toHeads(b, own), 0, 1, 3, 2),
        toHeads(b, own),
      )
      const seen = round(joined(b, own, context))
      const wide = b.op('Mul', [b.op('Sigmoid', [b.linear(own, C, 24)]), b.linear(own, C, 24)])
      return round(b.op('Add', [seen, round(b.linear(wide, 24, C))]))
    })
    const found = (await inspect(open())).feedForward
    expect(found.map(({ width, gated }) => [width, gated])).toEqual([[24, true]])
  })
})
