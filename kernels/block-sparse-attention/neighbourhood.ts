/**
 * Neighbourhoods on a grid of 1, 2 or 3 dimensions. Tokens are put in the order of tiles, so that a
 * neighbourhood touches few blocks; the layout is that of the tokens in their new order.
 * Source of the rule per axis: Generalized Neighborhood Attention (Hassani et al., 2025).
 */
import { type BlockLayout, fromColumns } from './layout.js'

export interface NeighbourhoodPattern {
  /** Sizes of the grid, slowest first: [height, width] … */
  readonly grid: readonly number[]
  /** Keys that a query sees along each axis. */
  readonly window: readonly number[]
  /** Queries that move together; 1 moves the window with every query. */
  readonly stride?: readonly number[]
  readonly dilation?: readonly number[]
  readonly causal?: readonly boolean[]
}

/** Whether a query at `query` sees a key at `key` along an axis. */
export function seesAlong(
  pattern: NeighbourhoodPattern,
  axis: number,
  query: number,
  key: number,
): boolean {
  const dilation = pattern.dilation?.[axis] ?? 1
  const length = pattern.grid[axis] as number
  const window = pattern.window[axis] as number
  const stride = pattern.stride?.[axis] ?? 1
  if (query % dilation !== key % dilation) return false
  // Positions inside the group of tokens of one residue.
  const L = Math.floor((length - (query % dilation) + dilation - 1) / dilation)
  const [i, j] = [Math.floor(query / dilation), Math.floor(key / dilation)]
  const group = Math.floor(i / stride) * stride
  if (pattern.causal?.[axis]) {
    const leader = Math.min(group + stride - 1, L - 1)
    return j <= i && leader - j < window
  }
  const left = Math.floor(window / 2)
  const right = left - (window % 2 === 0 ? 1 : 0)
  const leader = Math.min(group + Math.floor(stride / 2), L - 1)
  const centre = Math.min(Math.max(leader, left), L - 1 - right)
  return centre - left <= j && j <= centre + right
}

/**
 * Order of the tokens by tiles: element n is the token that comes n-th. A tile's size should be the
 * block's: 8 × 8 tokens for blocks of 64.
 */
export function tileOrder(grid: readonly number[], tile: readonly number[]): Int32Array {
  const tiles = grid.map((length, axis) => Math.ceil(length / (tile[axis] ?? 1)))
  const order: number[] = []
  for (const place of positions(tiles))
    for (const inside of positions(tile)) {
      const at = place.map((each, axis) => each * (tile[axis] as number) + (inside[axis] as number))
      if (at.some((each, axis) => each >= (grid[axis] as number))) continue
      order.push(at.reduce((sum, each, axis) => sum * (grid[axis] as number) + each, 0))
    }
  return Int32Array.from(order)
}

/** Layout over the tokens in `order`: blocks of `block` tokens that hold any pair of neighbours. */
export function neighbourhoodLayout(
  pattern: NeighbourhoodPattern,
  block: number,
  order: Int32Array,
): BlockLayout {
  const place = new Int32Array(order.length)
  for (const [index, token] of order.entries()) place[token] = index
  const rows = Math.ceil(order.length / block)
  const kept = Array.from({ length: rows }, () => new Set<number>())
  const axes = pattern.grid.map((length, axis) =>
    Array.from({ length }, (_, query) =>
      Array.from({ length }, (_key, key) => key).filter((key) =>
        seesAlong(pattern, axis, query, key),
      ),
    ),
  )
  let query = 0
  for (const at of positions(pattern.grid)) {
    const row = kept[Math.floor((place[query++] as number) / block)]
    const seen = at.map((each, axis) => axes[axis]?.[each] ?? [])
    for (const choice of positions(seen.map(({ length }) => length))) {
      const key = choice.reduce(
        (sum, each, axis) => sum * (pattern.grid[axis] as number) + (seen[axis]?.[each] as number),
        0,
      )
      row?.add(Math.floor((place[key] as number) / block))
    }
  }
  return fromColumns([kept.map((set) => [...set].sort((a, b) => a - b))])
}

/** All index tuples below `sizes`, the last index fastest. */
function* positions(sizes: readonly number[]): Generator<readonly number[]> {
  if (sizes.some((size) => size === 0)) return
  const at = sizes.map(() => 0)
  for (;;) {
    yield at
    let axis = sizes.length - 1
    while (axis >= 0 && ++(at[axis] as number) === sizes[axis]) at[axis--] = 0
    if (axis < 0) return
  }
}
