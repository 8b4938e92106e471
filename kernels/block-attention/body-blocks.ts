/**
 * The blocks that attention is computed on, in standard operators: sizes, padding to whole blocks, and keys and
 * values gathered by a layout. Letters as in attributes.ts; besides, M groups of heads that gather the same blocks
 * (the larger of L and K), G heads in each, R query blocks, c kept blocks.
 */
import type { Value } from '../../src/graph/graph.js'
import { type BodyBuilder, int } from '../body-builder.js'
import type { BlockAttentionAttributes } from './attributes.js'

export interface BodyInputs {
  readonly query: Value
  readonly key: Value
  readonly value: Value
  readonly keyLengths: Value | undefined
  readonly bias: Value | undefined
}

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

/** Sizes. Queries are padded at both ends so that their blocks are those of the layout. */
export function frameOf(
  build: BodyBuilder,
  inputs: BodyInputs,
  { queryBlock, keyBlock, queryStart }: BlockAttentionAttributes,
) {
  const [B, H, S] = build.sizes(inputs.query, 4) as [Value, Value, Value]
  const [, K, T, d] = build.sizes(inputs.key, 4) as [Value, Value, Value, Value]
  const [, , , e] = build.sizes(inputs.value, 4) as [Value, Value, Value, Value]
  const start = queryStart < 0 ? build.subtract(T, S) : build.ints([queryStart])
  const first = build.divide(start, queryBlock)
  const lead = build.subtract(start, build.multiply(first, queryBlock))
  const R = build.divideUp(build.add(lead, S), queryBlock)
  const keyBlocks = build.divideUp(T, keyBlock)
  const tail = build.subtract(build.multiply(R, queryBlock), build.add(lead, S))
  const keyTail = build.subtract(build.multiply(keyBlocks, keyBlock), T)
  const sizes = { B, H, S, K, T, d, e, R, keyBlocks, queryBlock, keyBlock }
  const isFloat = inputs.query.type?.dataType === 'float32'
  return { build, isFloat, ...sizes, first, lead, tail, keyTail }
}

export type Frame = ReturnType<typeof frameOf>

/** Which blocks: [L or B·L, R, c], those outside the keys replaced by the first and marked. */
export function keepBlocks(
  { build, B, H, K, R, keyBlocks }: Frame,
  { columns, layouts: L, perBatch }: GatheredBlocks,
) {
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
  return { ...kept, L, G, columns, leading, exists, present, flat }
}

export type KeptBlocks = ReturnType<typeof keepBlocks>

/** [.., .., T, size] → with `before` and `after` rows of zeros. */
export const pad = (build: BodyBuilder, value: Value, before: Value, after: Value): Value =>
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
export function gather(
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
