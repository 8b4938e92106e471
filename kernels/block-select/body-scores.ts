/** Scores of blocks as nodes of a body: by means, by bounds, by the last queries. */
import type { Value } from '../../src/graph/graph.js'
import { type BodyBuilder, int } from '../body-builder.js'
import type { SelectAttributes } from './attributes.js'

/** Instead of −∞, whose products and differences are NaN. */
export const HIDDEN = -1e30

export interface Sizes {
  readonly build: BodyBuilder
  readonly attributes: SelectAttributes
  readonly B: Value
  readonly H: Value
  readonly K: Value
  readonly S: Value
  readonly T: Value
  readonly d: Value
  readonly R: Value
  readonly C: Value
  readonly start: Value
  /** The queries' first block, and how far into it they begin. */
  readonly first: Value
  readonly lead: Value
  /** [B or 1, 1]: end of the keys. */
  readonly length: Value
  /** [R]: positions at which rows begin and end. */
  readonly from: Value
  readonly to: Value
}

/** Rows of queries summed, [.., S, d] → [.., R, d], and divided by how many there are. */
function meanQueries({ build, attributes, B, H, S, d, R, lead, from, to }: Sizes, query: Value) {
  const { queryBlock } = attributes
  const tail = build.subtract(build.multiply(R, queryBlock), build.add(lead, S))
  const padded = build.op('Pad', [query, build.list([0, 0, lead, 0, 0, 0, tail, 0])])
  const sums = build.reduce('ReduceSum', build.reshape(padded, [B, H, R, queryBlock, d]), 3)
  const count = build.cast(build.op('Sub', [to, from]), 'float32')
  return build.op('Div', [build.reshape(sums, [B, H, R, d]), build.reshape(count, [1, 1, R, 1])])
}

/** [B, K, C, m, d]; blocks of the past but the last are taken over. */
export function summarise(sizes: Sizes, key: Value, past: Value | undefined): Value {
  const { build, T } = sizes
  if (!past) return summaryOf(sizes, key, build.ints([0]))
  const known = build.sizes(past, 3)[2] as Value
  const before = build.op('Max', [build.subtract(known, 1), build.ints([0])])
  const kept = build.op('Min', [before, sizes.C])
  const rest = build.slice(key, 2, build.multiply(kept, sizes.attributes.keyBlock), T)
  return build.op('Concat', [build.slice(past, 2, 0, kept), summaryOf(sizes, rest, kept)], {
    axis: int(2),
  })
}

/** Of the keys from block `kept` on. */
function summaryOf({ build, attributes, B, K, T, d, C, length }: Sizes, key: Value, kept: Value) {
  const { keyBlock, scorer } = attributes
  const count = build.subtract(C, kept)
  const tail = build.subtract(build.multiply(C, keyBlock), T)
  const padded = build.op('Pad', [key, build.list([0, 0, 0, 0, 0, 0, tail, 0])])
  const blocks = build.reshape(padded, [B, K, count, keyBlock, d])
  const begin = build.multiply(build.range(count), keyBlock)
  const offset = build.add(begin, build.multiply(kept, keyBlock))
  const position = build.op('Add', [
    build.reshape(offset, [count, 1]),
    build.range(build.ints([keyBlock])),
  ])
  const end = build.reshape(length, [-1, 1, 1])
  const exists = build.reshape(build.op('Less', [position, end]), [-1, 1, count, keyBlock, 1])
  const number = build.reduce('ReduceSum', build.cast(exists, 'float32'), 3)
  const any = build.op('Greater', [number, build.float(0)])
  const zero = build.float(0)
  if (scorer === 'mean') {
    const sum = build.reduce('ReduceSum', build.op('Where', [exists, blocks, zero]), 3)
    return build.op('Div', [sum, build.op('Max', [number, build.float(1)])])
  }
  const low = build.reduce(
    'ReduceMin',
    build.op('Where', [exists, blocks, build.float(-HIDDEN)]),
    3,
  )
  const high = build.reduce(
    'ReduceMax',
    build.op('Where', [exists, blocks, build.float(HIDDEN)]),
    3,
  )
  const both = build.op('Concat', [low, high], { axis: int(3) })
  return build.op('Where', [any, both, zero])
}

/** [B, H, R, C] */
export function summaryScores(sizes: Sizes, query: Value, summary: Value): Value {
  const { build, attributes, B, H, K, d, R, C } = sizes
  const scale = attributes.scale
    ? build.float(attributes.scale)
    : build.op('Reciprocal', [build.op('Sqrt', [build.cast(d, 'float32')])])
  const mean = build.op('Mul', [meanQueries(sizes, query), scale])
  const rows = build.multiply(build.divide(H, K), R)
  const times = (queries: Value, part: number): Value => {
    const blocks = build.reshape(build.slice(summary, 3, part, part + 1), [B, K, C, d])
    return build.op('MatMul', [
      build.reshape(queries, [B, K, rows, d]),
      build.transpose(blocks, [0, 1, 3, 2]),
    ])
  }
  if (attributes.scorer === 'mean') return build.reshape(times(mean, 0), [B, H, R, C])
  // max(q·low, q·high): positive queries meet the maxima, negative ones the minima.
  const zero = build.float(0)
  const sum = build.op('Add', [
    times(build.op('Min', [mean, zero]), 0),
    times(build.op('Max', [mean, zero]), 1),
  ])
  return build.reshape(sum, [B, H, R, C])
}

/** What the last queries pay to each block: [B, H, 1, C]. */
export function lastQueryWeights(sizes: Sizes, query: Value, key: Value): Value {
  const { build, attributes, B, H, K, S, T, d, C, start, length } = sizes
  const { keyBlock, queryBlock, causal } = attributes
  const count = build.op('Min', [S, build.ints([queryBlock])])
  const firstQuery = build.subtract(S, count)
  const scale = attributes.scale
    ? build.float(attributes.scale)
    : build.op('Reciprocal', [build.op('Sqrt', [build.cast(d, 'float32')])])
  const last = build.op('Mul', [build.slice(query, 2, firstQuery, S), scale])
  const G = build.divide(H, K)
  const scores = build.reshape(
    build.op('MatMul', [
      build.reshape(last, [B, K, build.multiply(G, count), d]),
      build.transpose(key, [0, 1, 3, 2]),
    ]),
    [B, H, count, T],
  )
  const keys = build.reshape(build.range(T), [1, 1, 1, T])
  let visible = build.op('Less', [keys, build.reshape(length, [-1, 1, 1, 1])])
  if (causal) {
    const position = build.add(build.range(count), build.add(start, firstQuery))
    const rows = build.reshape(position, [1, 1, count, 1])
    visible = build.op('And', [visible, build.op('LessOrEqual', [keys, rows])])
  }
  const shown = build.op('Where', [visible, scores, build.float(HIDDEN)])
  const weights = build.op('Mul', [
    build.op('Softmax', [shown], { axis: int(-1) }),
    build.cast(visible, 'float32'),
  ])
  const perKey = build.reduce('ReduceSum', weights, 2)
  const tail = build.subtract(build.multiply(C, keyBlock), T)
  const padded = build.op('Pad', [perKey, build.list([0, 0, 0, 0, 0, 0, 0, tail])])
  const blocks = build.reshape(padded, [B, H, 1, C, keyBlock])
  return build.reshape(build.reduce('ReduceSum', blocks, 4), [B, H, 1, C])
}
