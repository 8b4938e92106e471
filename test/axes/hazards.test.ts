/** Ways to write attention and feed-forwards that exports have in use: read, and sliced like masked. */
import { describe, expect, it } from 'vitest'
import type { Value } from '../../src/graph/graph.js'
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

const feeds = [2, 1].map((batch) => ({
  x: tensorOf(
    'float32',
    [batch, 5, C],
    Array.from({ length: batch * 5 * C }, (_, i) => Math.sin(i)),
  ),
}))

describe('ways to write attention', { timeout: 60_000 }, () => {
  it.each(Object.entries(hazards))('%s: four heads of four', async (_, write) => {
    const make = () => build((b) => write(b, b.input('x', ['batch', 5, C])))
    const view = readModel(make().graph)
    expect(
      view.attention.map((each) => [each.kind, each.heads, each.keyValueHeads, each.valueHeadSize]),
    ).toEqual([['self', H, H, D]])
    const heads = view.dimensions.filter(({ role }) => role === 'keyValueHeads')
    expect(heads.map(canLose)).toEqual([true])
    const choice = new Map(heads.map(({ id }) => [id, [0, 2]]))
    expect(await compareModels(make, feeds, choice)).toBeLessThanOrEqual(1e-5)
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
})
