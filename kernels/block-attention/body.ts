/**
 * Block attention in standard operators: kept key and value blocks are gathered, then multiplied in
 * batches, so that the work is that of the kept blocks and not of all pairs. A row costs as much as
 * the fullest row of its layout. Letters as in attributes.ts; besides, M groups of heads that
 * gather the same blocks (the larger of L and K), G heads in each, R query blocks, c kept blocks.
 */
import type { Value } from '../../src/graph/graph.js'
import { type BodyBuilder, int } from '../body-builder.js'
import type { BlockAttentionAttributes } from './attributes.js'

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

interface Kept {
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

interface Visibility {
  readonly exists: Value
  readonly columns: Value
  readonly leading: readonly Value[]
  readonly first: Value
  readonly T: Value
  readonly attributes: BlockAttentionAttributes
  readonly inputs: BodyInputs
}

/** Which pairs of the kept blocks count: [1 or B, L, 1, R, 1, queryBlock, c·keyBlock] of bool. */
function visibility(
  { build, B, R, c }: Kept,
  { exists, columns, leading, first, T, attributes, inputs }: Visibility,
): Value {
  const { queryBlock, keyBlock, causal, window, sinks } = attributes
  const narrow = (value: Value): Value => build.cast(value, 'int32')
  // Keys of blocks that don't exist lie after all others, where they are hidden.
  const firstKey = build.op('Where', [
    exists,
    build.op('Mul', [columns, build.ints(keyBlock)]),
    build.ints(2 ** 30),
  ])
  const firstKeys = build.op('Unsqueeze', [firstKey, build.ints([-1])])
  const within = build.range(build.ints([keyBlock]))
  const keys = narrow(
    build.reshape(build.op('Add', [firstKeys, within]), [
      ...leading,
      1,
      R,
      1,
      1,
      build.multiply(c, keyBlock),
    ]),
  )
  const rows = build.add(
    build.range(build.multiply(R, queryBlock)),
    build.multiply(first, queryBlock),
  )
  const queries = narrow(build.reshape(rows, [1, 1, 1, R, 1, queryBlock, 1]))
  let end = narrow(T)
  if (inputs.keyLengths) {
    const lengths = narrow(build.reshape(inputs.keyLengths, [B, 1, 1, 1, 1, 1, 1]))
    end = build.op('Min', [end, lengths])
  }
  let visible = build.op('Less', [keys, end])
  const constant = (value: number): Value => narrow(build.ints(value))
  if (causal) visible = build.op('And', [visible, build.op('LessOrEqual', [keys, queries])])
  if (window > 0) {
    let near = build.op('Greater', [keys, build.op('Sub', [queries, constant(window)])])
    if (!causal)
      near = build.op('And', [
        near,
        build.op('Less', [keys, build.op('Add', [queries, constant(window)])]),
      ])
    if (sinks > 0) near = build.op('Or', [near, build.op('Less', [keys, constant(sinks)])])
    visible = build.op('And', [visible, near])
  }
  // Without a mask on queries it would lack their axis.
  if (causal || window > 0) return visible
  const shape = [inputs.keyLengths ? B : (leading[0] as Value), leading[1] as Value, 1, R, 1]
  return build.op('Expand', [
    visible,
    build.list([...shape, queryBlock, build.multiply(c, keyBlock)]),
  ])
}

interface BiasBlocks extends Kept {
  readonly H: Value
  readonly L: Value
  readonly G: Value
  readonly S: Value
  readonly T: Value
  readonly lead: Value
  readonly tail: Value
  readonly keyTail: Value
  readonly split: Value
  readonly queryBlock: number
  readonly keyBlock: number
}

/** The bias of the kept blocks, as the scores' view: [B, L, M/L, R, G, queryBlock, c·keyBlock]. */
function gatherBias(
  kept: BiasBlocks,
  bias: Value,
  present: Value,
  leading: readonly Value[],
): Value {
  const { build, B, H, L, G, M, R, c, keyBlocks, lead, tail, keyTail, split } = kept
  const { queryBlock, keyBlock, S, T } = kept
  const whole = build.op('Expand', [bias, build.list([B, H, S, T])])
  const padded = build.op('Pad', [whole, build.list([0, 0, lead, 0, 0, 0, tail, keyTail])])
  // [B, H, R, keyBlocks, queryBlock, keyBlock], then the kept ones of each row.
  const blocks = build.transpose(
    build.reshape(padded, [B, H, R, queryBlock, keyBlocks, keyBlock]),
    [0, 1, 2, 4, 3, 5],
  )
  const perHead = build.op('Expand', [
    build.reshape(present, [...leading, 1, R, c]),
    build.list([B, L, build.divide(H, L), R, c]),
  ])
  const row = build.multiply(build.range(build.multiply(build.multiply(B, H), R)), keyBlocks)
  const at = build.op('Add', [
    build.reshape(perHead, [-1, c]),
    build.op('Unsqueeze', [row, build.ints([1])]),
  ])
  const list = build.reshape(blocks, [-1, queryBlock * keyBlock])
  const gathered = build.op('Gather', [list, build.reshape(at, [-1])], { axis: int(0) })
  const ordered = build.transpose(
    build.reshape(gathered, [B, M, G, R, c, queryBlock, keyBlock]),
    [0, 1, 3, 2, 5, 4, 6],
  )
  return build.reshape(ordered, [B, L, split, R, G, queryBlock, build.multiply(c, keyBlock)])
}
