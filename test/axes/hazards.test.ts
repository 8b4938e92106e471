/** Ways to write attention and feed-forwards that exports have in use: read, and sliced like masked. */
import { describe, expect, it } from 'vitest'
import type { Value } from '../../src/graph/graph.js'
import { inspect } from '../../src/inspect/inspect.js'
import { readModel } from '../../src/model/model.js'
import { tensorOf } from '../../src/onnx/numbers.js'
import { canLose, compareModels } from '../zoo/compare.js'
import { type Builder, build } from './builder.js'

// C hidden, H heads, D head size
const [C, H, D] = [16, 4, 4]

interface Heads {
  readonly query: Value
  readonly key: Value
  readonly value: Value
}

/** [batch, sequence, H·D] → [batch, H, sequence, D] */
const toHeads = (b: Builder, value: Value, heads = H): Value =>
  b.transpose(b.reshape(value, 0, 0, heads, -1), 0, 2, 1, 3)

const separate = (b: Builder, x: Value): Heads => ({
  query: toHeads(b, b.linear(x, C, H * D)),
  key: toHeads(b, b.linear(x, C, H * D)),
  value: toHeads(b, b.linear(x, C, H * D)),
})

const scoresOf = (b: Builder, { query, key }: Heads): Value =>
  b.op('Mul', [b.op('MatMul', [query, b.transpose(key, 0, 1, 3, 2)]), b.scalar(0.5)])

const mixed = (b: Builder, scores: Value, value: Value): Value =>
  b.op('MatMul', [b.op('Softmax', [scores], { axis: -1 }), value])

/** [batch, H, sequence, D] → the stream, with what was there. */
const joined = (b: Builder, x: Value, context: Value): Value => {
  const merged = b.reshape(b.transpose(context, 0, 2, 1, 3), 0, 0, -1)
  return b.op('Add', [x, b.linear(merged, H * D, C)])
}

const attend = (b: Builder, x: Value, heads: Heads): Value =>
  joined(b, x, mixed(b, scoresOf(b, heads), heads.value))

const packed =
  (inner: 'parts outermost' | 'parts inside heads') =>
  (b: Builder, x: Value): Value => {
    const all = b.linear(x, C, 3 * H * D)
    const isOuter = inner === 'parts outermost'
    const parts = b.reshape(all, 0, 0, ...(isOuter ? [3, H, D] : [H, 3, D]))
    const part = (index: number): Value =>
      b.transpose(b.pick(parts, isOuter ? 2 : 3, index), 0, 2, 1, 3)
    return attend(b, x, { query: part(0), key: part(1), value: part(2) })
  }

const hazards: Record<string, (b: Builder, x: Value) => Value> = {
  'three projections': (b, x) => attend(b, x, separate(b, x)),
  'packed, parts outermost': packed('parts outermost'),
  'packed, parts inside heads': packed('parts inside heads'),
  'one norm for every head': (b, x) => {
    const heads = separate(b, x)
    const query = b.op('LayerNormalization', [heads.query, b.weight(D)], { axis: -1 })
    return attend(b, x, { ...heads, query })
  },
  'a bias with a head axis': (b, x) => {
    const heads = separate(b, x)
    const bias = b.op('Add', [scoresOf(b, heads), b.weight(1, H, 1, 1)])
    return joined(b, x, mixed(b, bias, heads.value))
  },
  'a soft cap on the scores': (b, x) => {
    const heads = separate(b, x)
    const capped = b.op('Tanh', [b.op('Div', [scoresOf(b, heads), b.scalar(30)])])
    return joined(b, x, mixed(b, b.op('Mul', [capped, b.scalar(30)]), heads.value))
  },
  'a guard against rows without keys': (b, x) => {
    const heads = separate(b, x)
    const soft = b.op('Softmax', [scoresOf(b, heads)], { axis: -1 })
    const guarded = b.op('Where', [b.op('IsNaN', [soft]), b.scalar(0), soft])
    return joined(b, x, b.op('MatMul', [guarded, heads.value]))
  },
  'heads mixed before and after the softmax': (b, x) => {
    const heads = separate(b, x)
    const mix = (all: Value): Value =>
      b.transpose(b.op('MatMul', [b.transpose(all, 0, 2, 3, 1), b.weight(H, H)]), 0, 3, 1, 2)
    const soft = b.op('Softmax', [mix(scoresOf(b, heads))], { axis: -1 })
    return joined(b, x, b.op('MatMul', [mix(soft), heads.value]))
  },
  'a single key that all are pooled into': (b, x) => {
    const { query, key, value } = separate(b, x)
    const pooled = [key, value].map((each) => b.op('ReduceMean', [each, b.integers(2)]))
    return attend(b, x, { query, key: pooled[0] as Value, value: pooled[1] as Value })
  },
  'casts before and after the softmax': (b, x) => {
    const heads = separate(b, x)
    const wide = b.op('Cast', [scoresOf(b, heads)], { to: 11 })
    const narrow = b.op('Cast', [b.op('Softmax', [wide], { axis: -1 })], { to: 1 })
    return joined(b, x, b.op('MatMul', [narrow, heads.value]))
  },
  'the scale on queries and keys': (b, x) => {
    const heads = separate(b, x)
    const query = b.op('Mul', [heads.query, b.scalar(0.7)])
    const key = b.op('Mul', [heads.key, b.scalar(0.7)])
    const scores = b.op('MatMul', [query, b.transpose(key, 0, 1, 3, 2)])
    return joined(b, x, mixed(b, scores, heads.value))
  },
  'heads folded into the batch': (b, x) => {
    const { query, key, value } = separate(b, x)
    const fold = (each: Value): Value => b.reshape(each, -1, 5, D)
    const scores = b.op('MatMul', [fold(query), b.transpose(fold(key), 0, 2, 1)])
    const context = b.op('MatMul', [b.op('Softmax', [scores], { axis: -1 }), fold(value)])
    return joined(b, x, b.reshape(context, -1, H, 5, D))
  },
  'sinks concatenated to the scores': (b, x) => {
    const heads = separate(b, x)
    const scores = scoresOf(b, heads)
    const nothing = b.op('Mul', [part(b, scores, 3, 0, 1), b.scalar(0)])
    const sinks = b.op('Add', [nothing, b.weight(1, H, 1, 1)])
    const all = b.op('Softmax', [b.op('Concat', [scores, sinks], { axis: -1 })], { axis: -1 })
    return joined(b, x, b.op('MatMul', [part(b, all, 3, 0, -1), heads.value]))
  },
  'rotary on half of a head': (b, x) => {
    const heads = separate(b, x)
    const turn = (value: Value): Value => {
      const [first, rest] = [part(b, value, 3, 0, 2), part(b, value, 3, 2, D)]
      const crossed = b.op(
        'Concat',
        [b.op('Neg', [part(b, first, 3, 1, 2)]), part(b, first, 3, 0, 1)],
        { axis: -1 },
      )
      const turned = b.op('Add', [
        b.op('Mul', [first, b.weight(5, 2)]),
        b.op('Mul', [crossed, b.weight(5, 2)]),
      ])
      return b.op('Concat', [turned, rest], { axis: -1 })
    }
    return attend(b, x, { ...heads, query: turn(heads.query), key: turn(heads.key) })
  },
  'keys and values from a latent of low rank': (b, x) => {
    const latent = b.linear(x, C, 6)
    const both = toHeads(b, b.linear(latent, 6, H * (3 + D)))
    const query = toHeads(b, b.linear(x, C, H * 3))
    const [key, value] = [part(b, both, 3, 0, 3), part(b, both, 3, 3, 3 + D)]
    return attend(b, x, { query, key, value })
  },
  'Einsum throughout': (b, x) => {
    const project = (): Value =>
      b.op('Einsum', [x, b.weight(C, H, D)], { equation: 'bsc,chd->bhsd' })
    const [query, key, value] = [project(), project(), project()]
    const scores = b.op('Einsum', [query, key], { equation: 'bhqd,bhkd->bhqk' })
    const context = b.op('Einsum', [b.op('Softmax', [scores], { axis: -1 }), value], {
      equation: 'bhqk,bhkd->bqhd',
    })
    const out = b.op('Einsum', [context, b.weight(H, D, C)], { equation: 'bqhd,hdc->bqc' })
    return b.op('Add', [x, out])
  },
}

/** [first, last) of an axis. */
const part = (b: Builder, value: Value, axis: number, first: number, last: number): Value =>
  b.op('Slice', [value, b.integers(first), b.integers(last), b.integers(axis)])

/** [batch, 2, 5, D] → [batch, 2·2, 5, D]: each key-value head serves two query heads. */
const repeated = (b: Builder, value: Value): Value => {
  const copies = b.op('Expand', [
    b.op('Unsqueeze', [value, b.integers(2)]),
    b.integers(1, 2, 2, 1, 1),
  ])
  return b.reshape(copies, 0, H, 5, D)
}

const grouped: Record<string, (b: Builder, x: Value) => Value> = {
  'keys and values repeated for their groups': (b, x) => {
    const key = repeated(b, toHeads(b, b.linear(x, C, 2 * D), 2))
    const value = repeated(b, toHeads(b, b.linear(x, C, 2 * D), 2))
    return attend(b, x, { query: toHeads(b, b.linear(x, C, H * D)), key, value })
  },
  'packed by key-value head: two queries, a key, a value': (b, x) => {
    const all = b.reshape(b.linear(x, C, 2 * 4 * D), 0, 0, 2, 4, D)
    const query = b.transpose(b.reshape(part(b, all, 3, 0, 2), 0, 0, H, D), 0, 2, 1, 3)
    const single = (index: number): Value =>
      repeated(b, b.transpose(b.pick(all, 3, index), 0, 2, 1, 3))
    return attend(b, x, { query, key: single(2), value: single(3) })
  },
}

const feeds = [2, 1].map((batch) => ({
  x: tensorOf(
    'float32',
    [batch, 5, C],
    Array.from({ length: batch * 5 * C }, (_, i) => Math.sin(i)),
  ),
}))

describe('ways to write attention', { timeout: 60_000 }, () => {
  const table = [
    ...Object.entries(hazards).map(([name, write]) => [name, H, write] as const),
    ...Object.entries(grouped).map(([name, write]) => [name, 2, write] as const),
  ]
  it.each(table)('%s: four heads of four, %i of keys', async (_, keyValueHeads, write) => {
    const make = () => build((b) => write(b, b.input('x', ['batch', 5, C])))
    const view = readModel(make().graph)
    expect(
      view.attention.map((each) => [each.kind, each.heads, each.keyValueHeads, each.valueHeadSize]),
    ).toEqual([['self', H, keyValueHeads, D]])
    const heads = view.dimensions.filter(({ role }) => role === 'keyValueHeads')
    expect(heads.map(canLose)).toEqual([true])
    const choice = new Map(heads.map(({ id }) => [id, keyValueHeads === H ? [0, 2] : [1]]))
    expect(await compareModels(make, feeds, choice)).toBeLessThanOrEqual(1e-5)
  })

  it('a norm over all heads together leaves out those that go; a softmax over them keeps them together', async () => {
    const make = (norm: (b: Builder, query: Value) => Value) =>
      build((b) => {
        const x = b.input('x', ['batch', 5, C])
        const query = norm(b, b.linear(x, C, H * D))
        return attend(b, x, { ...separate(b, x), query: toHeads(b, query) })
      })
    const normed = () => make((b, x) => b.op('LayerNormalization', [x, b.weight(H * D)]))
    const headsOf = ({ graph }: ReturnType<typeof normed>) => {
      const view = readModel(graph)
      expect(view.attention.map(({ heads }) => heads)).toEqual([H])
      return view.dimensions.find(({ role }) => role === 'keyValueHeads')
    }
    expect(headsOf(normed())).toMatchObject({ sliceable: true, isNormed: true, reasons: [] })
    const choice = new Map([[headsOf(normed())?.id ?? '', [0, 2]]])
    expect(await compareModels(normed, feeds, choice)).toBeLessThanOrEqual(1e-5)
    const shared = headsOf(make((b, x) => b.op('Softmax', [x], { axis: -1 })))
    expect(shared?.reasons[0]?.text).toBe('a softmax runs over it')
    expect(shared?.sliceable).toBe(false)
  })

  it('a layer used twice is one dimension', async () => {
    const make = () =>
      build((b) => {
        const weights = [0, 1, 2].map(() => b.weight(C, H * D))
        const out = b.weight(H * D, C)
        const layer = (x: Value): Value => {
          const [query, key, value] = weights.map((weight) =>
            toHeads(b, b.op('MatMul', [x, weight])),
          ) as [Value, Value, Value]
          const context = mixed(b, scoresOf(b, { query, key, value }), value)
          const merged = b.reshape(b.transpose(context, 0, 2, 1, 3), 0, 0, -1)
          return b.op('Add', [x, b.op('MatMul', [merged, out])])
        }
        return layer(layer(b.input('x', ['batch', 5, C])))
      })
    const view = readModel(make().graph)
    expect(view.attention.map(({ heads }) => heads)).toEqual([H, H])
    const heads = view.dimensions.filter(({ role }) => role === 'keyValueHeads')
    expect(heads.length).toBe(1)
    const choice = new Map(heads.map(({ id }) => [id, [1, 2]]))
    expect(await compareModels(make, feeds, choice)).toBeLessThanOrEqual(1e-5)
  })

  it('a head size that is divided from the width follows, down to one short head', async () => {
    const make = () =>
      build((b) => {
        const x = b.input('x', ['batch', 5, C])
        const split = (value: Value): Value => {
          const shape = b.op('Shape', [value])
          const size = b.op('Div', [part(b, shape, 0, 2, 3), b.integers(H)])
          const dims = b.op('Concat', [part(b, shape, 0, 0, 2), b.integers(H), size], { axis: 0 })
          return b.transpose(b.op('Reshape', [value, dims]), 0, 2, 1, 3)
        }
        const [query, key, value] = [0, 1, 2].map(() => split(b.linear(x, C, H * D)))
        return attend(b, x, { query, key, value } as Heads)
      })
    const ids = readModel(make().graph)
      .dimensions.filter(({ role }) => role === 'keyValueHeads' || role.endsWith('eadSize'))
      .map(({ id }) => id)
    const choice = new Map(ids.map((id) => [id, id.endsWith('Heads') ? [2] : [0, 1, 3]]))
    expect(choice.size).toBe(3)
    expect(await compareModels(make, feeds, choice)).toBeLessThanOrEqual(1e-5)
  })

  it.each(['before', 'behind'])('a sink %s the keys is no future', async (place) => {
    const model = build((b) => {
      const x = b.input('x', ['batch', 5, C])
      const heads = separate(b, x)
      const future = b.op('Trilu', [b.filled(-1e9, 5, 5), b.whole(1)], { upper: 1 })
      const scores = b.op('Add', [scoresOf(b, heads), future])
      const sinks = b.op('Mul', [part(b, scores, 3, 0, 1), b.scalar(0)])
      const all = place === 'before' ? [sinks, scores] : [scores, sinks]
      const soft = b.op('Softmax', [b.op('Concat', all, { axis: -1 })], { axis: -1 })
      const kept = place === 'before' ? part(b, soft, 3, 1, 6) : part(b, soft, 3, 0, 5)
      return joined(b, x, b.op('MatMul', [kept, heads.value]))
    })
    expect((await inspect(model)).attention.map(({ causal }) => causal)).toEqual([true])
  })

  it('a softmax that weighs experts is no attention', () => {
    const model = build((b) => {
      const x = b.input('x', ['batch', 5, C])
      const shares = b.op('Softmax', [b.linear(x, C, 3)], { axis: -1 })
      return b.op('Add', [x, b.linear(shares, 3, C)])
    })
    expect(readModel(model.graph).attention).toEqual([])
  })

  it('a depthwise convolution inside a feed-forward goes with its width', async () => {
    const make = () =>
      build((b) => {
        const x = b.input('x', ['batch', 5, C])
        const wide = b.transpose(b.linear(x, C, 24), 0, 2, 1)
        const near = b.op('Conv', [wide, b.weight(24, 1, 3)], { group: 24, pads: [1, 1] })
        const bent = b.op('Relu', [b.transpose(near, 0, 2, 1)])
        return b.op('Add', [x, b.linear(bent, 24, C)])
      })
    const [width] = readModel(make().graph).dimensions.filter(({ role }) => role === 'width')
    expect([width?.size, width?.sliceable]).toEqual([24, true])
    const choice = new Map([[width?.id ?? '', [1, 2, 3, 5, 8, 13, 21]]])
    expect(await compareModels(make, feeds, choice)).toBeLessThanOrEqual(1e-5)
  })

  it('heads and a feed-forward that share a product are cut on their own', async () => {
    const make = () =>
      build((b) => {
        const x = b.input('x', ['batch', 5, C])
        const heads = separate(b, x)
        const context = b.transpose(mixed(b, scoresOf(b, heads), heads.value), 0, 2, 1, 3)
        const wide = b.op('Relu', [b.linear(x, C, 24)])
        const both = b.op('Concat', [b.reshape(context, 0, 0, -1), wide], { axis: -1 })
        return b.op('Add', [x, b.linear(both, H * D + 24, C)])
      })
    const view = readModel(make().graph)
    expect(view.feedForward.map(({ width, gated }) => [width, gated])).toEqual([[24, false]])
    const some = view.dimensions.filter(({ role }) => role === 'width' || role === 'keyValueHeads')
    const choice = new Map(some.map(({ id }) => [id, [0, 3]]))
    expect(choice.size).toBe(2)
    expect(await compareModels(make, feeds, choice)).toBeLessThanOrEqual(1e-5)
  })

  it('products of integers are cut like others', async () => {
    const make = () =>
      build((b) => {
        const scale = b.scalar(0.05)
        const zero = b.bytes([100])
        const quantised = (value: Value): Value => b.op('QuantizeLinear', [value, scale, zero])
        const product = (value: Value, from: number, to: number): Value =>
          b.op('QLinearMatMul', [
            ...[value, scale, zero],
            ...[
              b.bytes(
                Array.from({ length: from * to }, (_, i) => (i * 37) % 251),
                from,
                to,
              ),
            ],
            ...[b.scalar(0.004), b.bytes([120]), scale, zero],
          ])
        const x = quantised(b.input('x', ['batch', 5, C]))
        const wide = b.op('DequantizeLinear', [product(x, C, 24), scale, zero])
        const narrow = product(quantised(b.op('Relu', [wide])), 24, C)
        const [sum] = b.ops(
          'QLinearAdd',
          [x, scale, zero, narrow, scale, zero, scale, zero],
          1,
          'com.microsoft',
        )
        return b.op('DequantizeLinear', [sum as Value, scale, zero])
      })
    const [width] = readModel(make().graph).dimensions.filter(({ role }) => role === 'width')
    expect([width?.size, width?.sliceable]).toEqual([24, true])
    const choice = new Map([[width?.id ?? '', [1, 2, 3, 5, 8, 13, 21]]])
    expect(await compareModels(make, feeds, choice)).toBe(0)
  })

  it('windows that an image is cut into lie beside the batch and are no heads', async () => {
    const model = build((b) => {
      const x = b.input('x', ['batch', 8, 8, C])
      const cut = b.transpose(b.reshape(x, -1, 4, 2, 4, 2, C), 0, 1, 3, 2, 4, 5)
      const tokens = b.reshape(cut, -1, 4, C)
      const seen = b.reshape(attend(b, tokens, separate(b, tokens)), -1, 4, 4, 2, 2, C)
      return b.reshape(b.transpose(seen, 0, 1, 3, 2, 4, 5), -1, 8, 8, C)
    })
    const [block] = (await inspect(model)).attention
    expect([block?.heads, block?.window, block?.causal]).toEqual([H, 2, false])
  })

  const masks: [string, (query: number, key: number) => boolean, boolean, number | undefined][] = [
    ['a band is a window', (query, key) => Math.abs(query - key) <= 2, false, 4],
    [
      'samples laid end to end are none',
      (q, k) => Math.floor(q / 3) === Math.floor(k / 3),
      false,
      undefined,
    ],
    [
      'a prefix that sees itself leaves the rest causal',
      (q, k) => k <= q || k < 4,
      true,
      undefined,
    ],
  ]
  it.each(masks)('%s', async (_, isOpen, causal, window) => {
    const model = build((b) => {
      const x = b.input('x', ['batch', 12, C])
      const heads = separate(b, x)
      const numbers = Array.from({ length: 144 }, (_, at) =>
        isOpen(Math.floor(at / 12), at % 12) ? 0 : -1e9,
      )
      const scores = b.op('Add', [scoresOf(b, heads), b.numbers(numbers, 12, 12)])
      return joined(b, x, mixed(b, scores, heads.value))
    })
    const [block] = (await inspect(model)).attention
    expect([block?.causal, block?.window]).toEqual([causal, window])
  })
})
