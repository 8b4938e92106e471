/**
 * What every fused attention is at its core: softmax(cap(Q·Kᵀ·scale) + biases)·V over heads, with masks;
 * ONNX Runtime caps before it adds, for GroupQueryAttention and ai.onnx Attention alike.
 * Query head h reads key-value head floor(h / groups).
 */
import type { Value } from '../../graph/graph.js'
import { largestHalf } from '../../onnx/half-precision.js'
import type { LoweringContext } from './lowering.js'

export interface Attended {
  /** [batch, heads, queries, size]. */
  readonly query: Value
  /** [batch, key-value heads, keys, size]. */
  readonly key: Value
  readonly value: Value
  readonly scale: number
  /** Added to the scores [batch, heads, queries, keys], broadcast. */
  readonly biases?: readonly Value[]
  /** Where these booleans are false, a key is not seen. */
  readonly masks?: readonly Value[]
  /** cap·tanh(score/cap), before biases and masks: a hidden key stays hidden. */
  readonly softcap?: number
}

/** [batch, heads, queries, value size]. */
export function attend(c: LoweringContext, attended: Attended): Value {
  const { query, key, value, scale, biases = [], masks = [], softcap = 0 } = attended
  const turned = c.op('Transpose', [key], { perm: [0, 1, 3, 2] })
  let scores = c.op('MatMul', [c.op('Mul', [query, c.constant(scale)]), turned])
  if (softcap > 0) {
    const cap = c.constant(softcap)
    scores = c.op('Mul', [c.op('Tanh', [c.op('Div', [scores, cap])]), cap])
  }
  for (const bias of biases) scores = c.op('Add', [scores, bias])
  for (const mask of masks) scores = c.op('Where', [mask, scores, c.constant(lowest(c))])
  return c.op('MatMul', [c.op('Softmax', [scores], { axis: -1 }), value])
}

const lowest = ({ type }: LoweringContext): number => (type === 'float16' ? -largestHalf : -3.4e38)

/** [batch, sequence, heads·size] as [batch, heads, sequence, size]. */
export function splitHeads(c: LoweringContext, value: Value, heads: number): Value {
  return c.op('Transpose', [c.op('Reshape', [value, c.ints(0, 0, heads, -1)])], {
    perm: [0, 2, 1, 3],
  })
}

/** [batch, heads, sequence, size] as [batch, sequence, heads·size]. */
export function mergeHeads(c: LoweringContext, value: Value): Value {
  const turned = c.op('Transpose', [value], { perm: [0, 2, 1, 3] })
  return c.op('Reshape', [turned, c.ints(0, 0, -1)])
}

/** Every key-value head repeated for the query heads that read it. */
export function repeatHeads(
  c: LoweringContext,
  value: Value,
  sizes: { readonly heads: number; readonly groups: number; readonly size: number },
): Value {
  if (sizes.groups === 1) return value
  const opened = c.op('Unsqueeze', [value, c.ints(2)])
  const copies = c.op('Expand', [opened, c.ints(1, 1, sizes.groups, 1, 1)])
  return c.op('Reshape', [copies, c.ints(0, sizes.heads * sizes.groups, -1, sizes.size)])
}

/** Keys of earlier runs before those of this one, along the sequence. */
export const withPast = (c: LoweringContext, past: Value | undefined, now: Value): Value =>
  past ? c.op('Concat', [past, now], { axis: 2 }) : now

/** int64 [1]: length along the sequence axis of [batch, heads, sequence, size]. */
export const lengthOf = (c: LoweringContext, value: Value): Value => c.sizes(value, 2, 3)

/**
 * bool [queries, keys]: a key is seen by queries at its own place or later, no more than `window`
 * places away. The first query stands at `offset` (int64 [1]); at 0 without it.
 */
export function causalMask(
  c: LoweringContext,
  queries: Value,
  keys: Value,
  offset: Value | undefined,
  window = -1,
): Value {
  const range = c.range(queries)
  const rows = c.op('Unsqueeze', [offset ? c.op('Add', [range, offset]) : range, c.ints(1)])
  const columns = c.op('Unsqueeze', [c.range(keys), c.ints(0)])
  const isBefore = c.op('LessOrEqual', [columns, rows])
  if (window < 0) return isBefore
  const first = c.op('Sub', [rows, c.ints(window)])
  return c.op('And', [isBefore, c.op('Greater', [columns, first])])
}

/** bool [batch, 1, 1, keys]: the first `lengths` keys of each sample. */
export function lengthMask(c: LoweringContext, lengths: Value, keys: Value): Value {
  const ends = c.op('Reshape', [c.cast(lengths, 'int64'), c.ints(-1, 1, 1, 1)])
  return c.op('Less', [c.range(keys), ends])
}
