/** Compressed rows as a rectangle of columns, in standard operators: what gathering needs. */
import type { Value } from '../../src/graph/graph.js'
import type { GatheredBlocks, RowSpan } from '../block-attention/body-blocks.js'
import { type BodyBuilder, int } from '../body-builder.js'

/** block_rows [L, R+1] and block_columns [L, N] → [L, rows, fullest row]; −1 where a row has ended. */
export const columnsOfRows =
  (build: BodyBuilder, rows: Value, columns: Value) =>
  ({ first, count }: RowSpan): GatheredBlocks => {
    const [L, N] = build.sizes(columns, 2) as [Value, Value]
    const all = build.cast(rows, 'int64')
    const end = build.add(first, count)
    const begins = build.slice(all, 1, first, end)
    const ends = build.slice(all, 1, build.add(first, 1), build.add(end, 1))
    const counts = build.op('Sub', [ends, begins])
    const fullest = build.op('ReduceMax', [counts], { keepdims: int(0) })
    const c = build.op('Max', [fullest, build.ints([1])])
    const places = build.range(c)
    const apart = (value: Value): Value => build.op('Unsqueeze', [value, build.ints([2])])
    const index = build.op('Add', [apart(begins), places])
    const inside = build.op('Min', [index, build.subtract(N, 1)])
    const picked = build.op(
      'GatherElements',
      [columns, build.reshape(inside, [L, build.multiply(count, c)])],
      { axis: int(1) },
    )
    const table = build.reshape(build.cast(picked, 'int64'), [L, count, c])
    const isReal = build.op('Less', [places, apart(counts)])
    return {
      columns: build.op('Where', [isReal, table, build.ints(-1)]),
      layouts: L,
      perBatch: false,
    }
  }
