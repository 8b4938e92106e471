/** However products and scores are spelled, they come to one form that can follow patterns, and say the same. */
import { expect, it } from 'vitest'
import { edit } from '../../src/graph/edit.js'
import type { Model, Value } from '../../src/graph/graph.js'
import { readModel } from '../../src/model/model.js'
import { examine } from '../../src/sparse/examine.js'
import { readAttention } from '../../src/sparse/read.js'
import { writeOut } from '../../src/sparse/write-out.js'
import { type Builder, build } from '../axes/builder.js'
import { difference, runModel } from '../zoo/compare.js'

// B batch, C hidden, H heads, D head size, S tokens
const [B, C, H, D, S] = [2, 12, 3, 4, 6]

/** Queries, keys and values as [batch, tokens, heads, size]. */
type Attend = (b: Builder, query: Value, key: Value, value: Value) => Value

const attention = (attend: Attend, keyValueHeads = H): Model =>
  build((b) => {
    const x = b.input('x', ['batch', S, C])
    const split = (heads: number): Value =>
      b.reshape(b.linear(x, C, heads * D), 0, S, ...(heads === 1 ? [] : [heads]), D)
    const context = attend(b, split(H), split(keyValueHeads), split(keyValueHeads))
    return b.op('Add', [x, b.linear(b.reshape(context, 0, S, C), C, C)])
  })

/** The same after it is written plainly, with no node left that nothing reads. */
async function expectSame(make: () => Model): Promise<void> {
  expect((await examine(make())).map(({ reason }) => reason)).toEqual([undefined])
  const plain = make()
  const view = readModel(plain.graph)
  edit(plain.graph, 'test', (change) => {
    const now = writeOut(change, view, view.attention)
    for (const block of now.attention) readAttention(now, block)
  })
  const unread = [...plain.graph.nodes()].filter(({ outputs }) =>
    outputs.every((each) => each && each.uses.size === 0 && !each.isGraphOutput),
  )
  expect(unread.map(({ label }) => label)).toEqual([])
  const data = Float32Array.from({ length: B * S * C }, (_, i) => Math.sin(i))
  const feeds = { x: { dataType: 'float32', dims: [B, S, C], data } } as const
  const [dense] = await runModel(make(), [feeds])
  const [written] = await runModel(plain, [feeds])
  expect(difference(dense ?? {}, written ?? {})).toBeLessThan(1e-5)
  expect(Object.keys(dense ?? {})).toHaveLength(1)
}

const softmax = (b: Builder, scores: Value): Value => b.op('Softmax', [scores], { axis: -1 })
const einsum = (b: Builder, equation: string, ...inputs: Value[]): Value =>
  b.op('Einsum', inputs, { equation })

it.each([
  ['bihd,bjhd->bhij', 'bhij,bjhd->bihd', H],
  ['bjhd,bihd->bhij', 'bjhd,bhij->bihd', H, 'keys first'],
  ['...ihd,...jhd->...hij', '...hij,...jhd->...ihd', H],
  ['bihd,bjd->bhij', 'bhij,bjd->bihd', 1],
] as const)('Einsum: %s and %s', async (scoring, weighing, keyValueHeads, order?: string) => {
  const sides = (one: Value, other: Value) => (order ? [other, one] : [one, other])
  await expectSame(() =>
    attention((b, query, key, value) => {
      const scores = b.op('Mul', [einsum(b, scoring, ...sides(query, key)), b.scalar(0.5)])
      return einsum(b, weighing, ...sides(softmax(b, scores), value))
    }, keyValueHeads),
  )
})

it('products the other way round: keys by turned queries, turned values by turned probabilities', async () => {
  await expectSame(() =>
    attention((b, query, key, value) => {
      const turnedQuery = b.transpose(query, 0, 2, 3, 1)
      const product = b.op('MatMul', [b.transpose(key, 0, 2, 1, 3), turnedQuery])
      const shares = softmax(b, b.transpose(product, 0, 1, 3, 2))
      const turnedValue = b.transpose(value, 0, 2, 3, 1)
      const context = b.op('MatMul', [turnedValue, b.transpose(shares, 0, 1, 3, 2)])
      return b.transpose(context, 0, 3, 1, 2)
    }),
  )
})

const chains: Record<string, (b: Builder, scores: Value) => Value> = {
  'a bias that is scaled with the scores': (b, scores) =>
    b.op('Div', [b.op('Add', [scores, b.weight(H, S, S)]), b.scalar(2)]),
  'a bias that is taken off': (b, scores) => b.op('Sub', [scores, b.weight(H, S, S)]),
  'a scale for each head': (b, scores) =>
    b.op('Mul', [b.op('Mul', [scores, b.scalar(0.5)]), b.weight(H, 1, 1)]),
  'their maximum taken off': (b, scores) =>
    b.op('Sub', [scores, b.op('ReduceMax', [scores, b.integers(-1)], { keepdims: 1 })]),
  'hidden scores that are scaled': (b, scores) => {
    const later = Array.from({ length: S * S }, (_, i) => (i % S > Math.floor(i / S) ? 1 : 0))
    const hidden = b.op('Cast', [b.numbers(later, S, S)], { to: 9 })
    const masked = b.op('Where', [hidden, b.scalar(-1e9), scores])
    return b.op('Mul', [masked, b.scalar(0.5)])
  },
  'a mask that is spread to their shape': (b, scores) => {
    const spread = b.op('Expand', [b.weight(1, 1, 1, S), b.op('Shape', [scores])])
    return b.op('Add', [scores, spread])
  },
}

it.each(Object.keys(chains))('scores with %s', async (name) => {
  await expectSame(() =>
    attention((b, query, key, value) => {
      const product = b.op('MatMul', [b.transpose(query, 0, 2, 1, 3), b.transpose(key, 0, 2, 3, 1)])
      const shares = softmax(b, chains[name]?.(b, product) as Value)
      return b.transpose(b.op('MatMul', [shares, b.transpose(value, 0, 2, 1, 3)]), 0, 2, 1, 3)
    }),
  )
})

it('Select and Einsum as converters from TensorFlow write them', async () => {
  await expectSame(() =>
    attention((b, query, key, value) => {
      const seen = Array.from({ length: S * S }, (_, i) => (i % S > Math.floor(i / S) ? 0 : 1))
      const isSeen = b.op('Cast', [b.numbers(seen, S, S)], { to: 9 })
      const ways = [isSeen, b.op('Not', [isSeen])].map((way) => b.op('Cast', [way], { to: 1 }))
      const select = (shown: Value, otherwise: number): Value =>
        b.op('Add', [
          b.op('Mul', [ways[0] as Value, shown]),
          b.op('Mul', [b.scalar(otherwise), ways[1] as Value]),
        ])
      const rows = (each: Value): Value => b.reshape(b.transpose(each, 0, 2, 1, 3), B * H, S, D)
      const product = b.op('MatMul', [rows(query), b.transpose(rows(key), 0, 2, 1)])
      const scores = b.op('Squeeze', [b.reshape(product, B, H, S, S, 1), b.integers(4)])
      const shares = select(softmax(b, select(scores, -1e9)), 0)
      const flat = b.reshape(b.op('Unsqueeze', [shares, b.integers(3)]), B * H, S, S)
      const context = b.reshape(b.op('MatMul', [flat, rows(value)]), B, H, S, 1, D)
      return b.transpose(b.op('Squeeze', [context, b.integers(3)]), 0, 2, 1, 3)
    }),
  )
})
