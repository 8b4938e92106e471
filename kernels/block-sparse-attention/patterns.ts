/**
 * Static patterns as layouts. A token pattern is turned into the blocks that hold any of its pairs;
 * what is kept too much at the edges of blocks, the operator's window and sinks hide exactly.
 */
import { type BlockLayout, layoutOf } from './layout.js'

export interface TokenSize {
  readonly queries: number
  readonly keys: number
  readonly queryBlock: number
  readonly keyBlock: number
}

const blocks = ({ queries, keys, queryBlock, keyBlock }: TokenSize) => ({
  queryBlocks: Math.ceil(queries / queryBlock),
  keyBlocks: Math.ceil(keys / keyBlock),
})

/** Every block; with `causal` those that hold no key after its queries. */
export function denseLayout(size: TokenSize, causal: boolean): BlockLayout {
  const { queryBlock, keyBlock } = size
  return layoutOf(
    blocks(size),
    (row, column) => !causal || column * keyBlock < (row + 1) * queryBlock,
  )
}

export interface WindowPattern {
  /** Keys that a query sees backwards, itself included; without `causal` as many forwards. */
  readonly window: number
  /** First keys that every query sees. */
  readonly sinks?: number
  readonly causal: boolean
}

/** Sliding window and sinks. */
export function windowLayout(size: TokenSize, { window, sinks = 0, causal }: WindowPattern) {
  const { queryBlock, keyBlock } = size
  return layoutOf(blocks(size), (row, column) => {
    const firstKey = column * keyBlock
    const lastQuery = (row + 1) * queryBlock - 1
    if (causal && firstKey > lastQuery) return false
    if (firstKey < sinks) return true
    const reachesBack = firstKey + keyBlock - 1 > row * queryBlock - window
    return reachesBack && (causal || firstKey < lastQuery + window)
  })
}

export interface StridedPattern {
  readonly heads: number
  /** Blocks that every query block sees backwards, itself included. */
  readonly localBlocks: number
  /** Besides, every `stride`-th block; heads take different ones, so that together they see all. */
  readonly stride: number
}

/**
 * A local band and a vertical stride that is shifted from head to head, causal.
 * Source: S2-Attention (Lin et al., 2024): j ≤ i and (i−j < local or (j + h·step) mod stride = stride−1).
 */
export function stridedLayout(
  size: TokenSize,
  { heads, localBlocks, stride }: StridedPattern,
): BlockLayout {
  const step = Math.max(1, Math.floor(stride / heads))
  const { queryBlock, keyBlock } = size
  return layoutOf({ ...blocks(size), layouts: heads }, (row, column, head) => {
    const own = Math.floor((row * queryBlock) / keyBlock)
    const newest = Math.floor(((row + 1) * queryBlock - 1) / keyBlock)
    if (column > newest) return false
    return own - column < localBlocks || (column + head * step) % stride === stride - 1
  })
}

/** Every `dilation`-th of the blocks within `reach` blocks. */
export function dilatedLayout(
  size: TokenSize,
  pattern: { readonly reach: number; readonly dilation: number; readonly causal: boolean },
): BlockLayout {
  const { reach, dilation, causal } = pattern
  const { queryBlock, keyBlock } = size
  return layoutOf(blocks(size), (row, column) => {
    const distance = Math.floor((row * queryBlock) / keyBlock) - column
    if (causal && column * keyBlock >= (row + 1) * queryBlock) return false
    return Math.abs(distance) <= reach * dilation && Math.abs(distance) % dilation === 0
  })
}

/** Adds the rows and columns of the blocks that hold the global tokens: they see all and all see them. */
export function withGlobalTokens(
  layout: BlockLayout,
  size: TokenSize,
  pattern: { readonly tokens: readonly number[]; readonly causal: boolean },
): BlockLayout {
  const { queryBlock, keyBlock } = size
  const rows = new Set(pattern.tokens.map((token) => Math.floor(token / queryBlock)))
  const columns = new Set(pattern.tokens.map((token) => Math.floor(token / keyBlock)))
  const before = keptSets(layout)
  return layoutOf({ ...blocks(size), layouts: layout.rows.length }, (row, column, index) => {
    if (pattern.causal && column * keyBlock >= (row + 1) * queryBlock) return false
    return rows.has(row) || columns.has(column) || (before[index]?.[row]?.has(column) ?? false)
  })
}

const keptSets = (layout: BlockLayout): ReadonlySet<number>[][] =>
  layout.rows.map((rows, index) =>
    Array.from(
      rows.subarray(1),
      (end, row) => new Set(layout.columns[index]?.subarray(rows[row], end)),
    ),
  )
