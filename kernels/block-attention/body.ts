/**
 * Block attention in standard operators: kept key and value blocks are gathered, then multiplied in
 * batches, so that the work is that of the kept blocks and not of all pairs. A row costs as much as
 * the fullest row of its layout. Letters as in attributes.ts; besides, M groups of heads that
 * gather the same blocks (the larger of L and K), G heads in each, R query blocks, c kept blocks.
 */
import type { Value } from '../../src/graph/graph.js'
import { type BodyBuilder, int } from '../body-builder.js'
import type { BlockAttentionAttributes } from './attributes.js'
import { gatherBias, visibility } from './body-visibility.js'

/** Added to hidden scores: finite, so that a row of nothing else is even, not NaN; then it is cleared. */
const HIDDEN = -1e30

/** Kept blocks: [L, R, c] or [B, L, R, c] of int64; those that are none of the keys' are ignored. */
export interface GatheredBlocks {
  readonly columns: Value
  /** L, as a tensor [1]. */
  readonly layouts: Value
  readonly perBatch: boolean
}

/** Where the rows of a layout that the queries need begin and end. */
export interface RowSpan {
  readonly first: Value
  readonly count: Value
}

export interface BodyInputs {
  readonly query: Value
  readonly key: Value
  readonly value: Value
  readonly keyLengths: Value | undefined
  readonly bias: Value | undefined
}

export function attentionBody(
  build: BodyBuilder,
  inputs: BodyInputs,
  attributes: BlockAttentionAttributes,
  choose: (rows: RowSpan) => GatheredBlocks,
  wantsLogSumExp: boolean,
): Value[] {
  const { queryBlock, keyBlock } = attributes
  // 1. Sizes. Queries are padded at both ends so that their blocks are those of the layout.
  const [B, H, S] = build.sizes(inputs.query, 4) as [Value, Value, Value]
  const [, K, T, d] = build.sizes(inputs.key, 4) as [Value, Value, Value, Value]
  const [, , , e] = build.sizes(inputs.value, 4) as [Value, Value, Value, Value]
  const start =
    attributes.queryStart < 0 ? build.subtract(T, S) : build.ints([attributes.queryStart])
  const first = build.divide(start, queryBlock)
  const lead = build.subtract(start, build.multiply(first, queryBlock))
  const R = build.divideUp(build.add(lead, S), queryBlock)
  const keyBlocks = build.divideUp(T, keyBlock)
  const tail = build.subtract(build.multiply(R, queryBlock), build.add(lead, S))
  const keyTail = build.subtract(build.multiply(keyBlocks, keyBlock), T)

  // 2. Which blocks: [L or B·L, R, c], those outside the keys replaced by the last and marked.
  const { columns, layouts: L, perBatch } = choose({ first, count: R })
  const leading = perBatch ? [B, L] : [build.ints([1]), L]
  const c = build.op('Gather', [build.op('Shape', [columns]), build.ints([-1])])
  const exists = build.op('And', [
    build.op('GreaterOrEqual', [columns, build.ints(0)]),
    build.op('Less', [columns, keyBlocks]),
  ])
  const present = build.op('Where', [exists, columns, build.ints(0)])
  const M = build.op('Max', [L, K])
  const G = build.divide(H, M)
  const kept: Kept = { build, B, K, M, R, c, keyBlocks, perBatch }
  const flat = flatBlocks(kept, present, L, leading)

  // 3. Scores of the kept blocks [B, M, R, G·queryBlock, c·keyBlock].
  const asFloat = (value: Value): Value => build.cast(value, 'float32')
  const isFloat = inputs.query.type?.dataType === 'float32'
  const [query, key, value] = [inputs.query, inputs.key, inputs.value].map((each) =>
    isFloat ? each : asFloat(each),
  ) as [Value, Value, Value]
  const scale = attributes.scale
    ? build.float(attributes.scale)
    : build.op('Reciprocal', [build.op('Sqrt', [asFloat(d)])])
  const padded = pad(build, build.op('Mul', [query, scale]), lead, tail)
  const grouped = build.transpose(
    build.reshape(padded, [B, M, G, R, queryBlock, d]),
    [0, 1, 3, 2, 4, 5],
  )
  const rows = build.multiply(G, queryBlock)
  const width = build.multiply(c, keyBlock)
  const keys = gather(kept, pad(build, key, build.ints([0]), keyTail), flat, keyBlock, d)
  const values = gather(kept, pad(build, value, build.ints([0]), keyTail), flat, keyBlock, e)
  let scores = build.op('MatMul', [
    build.reshape(grouped, [B, M, R, rows, d]),
    build.transpose(keys, [0, 1, 2, 4, 3]),
  ])
  if (attributes.softcap) {
    const cap = build.float(attributes.softcap)
    scores = build.op('Mul', [build.op('Tanh', [build.op('Div', [scores, cap])]), cap])
  }

  // 4. Masks, in a view [B, L, M/L, R, G, queryBlock, c·keyBlock] that tells layouts apart.
  const split = build.divide(M, L)
  const view = [B, L, split, R, G, queryBlock, width]
  scores = build.reshape(scores, view)
  if (inputs.bias) {
    const blocks = { ...kept, H, L, G, S, T, lead, tail, keyTail, split, queryBlock, keyBlock }
    const bias = isFloat ? inputs.bias : asFloat(inputs.bias)
    scores = build.op('Add', [scores, gatherBias(blocks, bias, present, leading)])
  }
  const visible = visibility(kept, { exists, columns, leading, first, T, attributes, inputs })
  const shift = build.op('Where', [visible, build.float(0), build.float(HIDDEN)])
  scores = build.op('Add', [scores, shift])
  // A bias of −∞ hides too.
  if (inputs.bias) scores = build.op('Max', [scores, build.float(HIDDEN)])
  const shown = inputs.bias ? build.op('Greater', [scores, build.float(HIDDEN / 2)]) : visible
  const anyShown = build.op('Greater', [
    build.reduce('ReduceSum', asFloat(shown), -1),
    build.float(0),
  ])

  // 5. Probabilities, context, and back to [B, H, S, e].
  const probabilities = build.op('Softmax', [scores], { axis: int(-1) })
  const context = build.op('MatMul', [build.reshape(probabilities, [B, M, R, rows, width]), values])
  const restore = (each: Value, size: Extent1): Value => {
    const ordered = build.transpose(
      build.reshape(each, [B, M, R, G, queryBlock, size]),
      [0, 1, 3, 2, 4, 5],
    )
    const whole = build.reshape(ordered, [B, H, build.multiply(R, queryBlock), size])
    return build.slice(whole, 2, lead, build.add(lead, S))
  }
  const cleared = build.op('Mul', [
    build.reshape(context, [B, L, split, R, G, queryBlock, e]),
    asFloat(anyShown),
  ])
  const output = restore(cleared, e)
  const results = [isFloat ? output : build.cast(output, inputs.query.type?.dataType ?? 'float32')]
  if (!wantsLogSumExp) return results
  const largest = build.reduce('ReduceMax', scores, -1)
  const sum = build.reduce('ReduceSum', build.op('Exp', [build.op('Sub', [scores, largest])]), -1)
  const logSumExp = build.op('Where', [
    anyShown,
    build.op('Add', [largest, build.op('Log', [sum])]),
    build.float(Number.NEGATIVE_INFINITY),
  ])
  results.push(build.reshape(restore(logSumExp, 1), [B, H, S]))
  return results
}

type Extent1 = Value | 1

export interface Kept {
  readonly build: BodyBuilder
  readonly B: Value
  readonly K: Value
  readonly M: Value
  readonly R: Value
  readonly c: Value
  readonly keyBlocks: Value
  readonly perBatch: boolean
}

/** [.., .., T, size] → with `before` and `after` rows of zeros. */
const pad = (build: BodyBuilder, value: Value, before: Value, after: Value): Value =>
  build.op('Pad', [value, build.list([0, 0, before, 0, 0, 0, after, 0])])

/** Blocks as rows of [K·keyBlocks], repeated for the groups that share a layout: [.., M·R·c]. */
function flatBlocks(
  { build, K, M, R, c, keyBlocks, B, perBatch }: Kept,
  present: Value,
  L: Value,
  leading: readonly Value[],
): Value {
  const perLayout = build.reshape(present, [...leading, 1, R, c])
  const repeated = build.op('Expand', [
    perLayout,
    build.list([...leading, build.divide(M, L), R, c]),
  ])
  const head = build.divide(build.multiply(build.range(M), K), M)
  const offset = build.reshape(build.multiply(head, keyBlocks), [1, M, 1, 1])
  const rows = build.op('Add', [build.reshape(repeated, [perBatch ? B : 1, M, R, c]), offset])
  if (!perBatch) return build.reshape(rows, [-1])
  const batch = build.multiply(build.range(B), build.multiply(K, keyBlocks))
  return build.reshape(build.op('Add', [rows, build.reshape(batch, [B, 1, 1, 1])]), [-1])
}

/** Key or value blocks of every group: [B, M, R, c·keyBlock, size]. */
function gather(
  { build, B, K, M, R, c, keyBlocks, perBatch }: Kept,
  padded: Value,
  flat: Value,
  keyBlock: number,
  size: Value,
): Value {
  const elements = build.multiply(size, keyBlock)
  const count = build.multiply(K, keyBlocks)
  const blocks = perBatch
    ? build.reshape(padded, [build.multiply(B, count), elements])
    : build.reshape(padded, [B, count, elements])
  const gathered = build.op('Gather', [blocks, flat], { axis: int(perBatch ? 0 : 1) })
  return build.reshape(gathered, [B, M, R, build.multiply(c, keyBlock), size])
}
