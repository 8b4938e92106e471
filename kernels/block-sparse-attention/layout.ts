/**
 * Which key blocks each block of queries keeps, as compressed rows: columns of row r of layout l
 * are columns[l][rows[l][r] … rows[l][r+1]). Rows and columns count blocks of absolute positions,
 * so one layout serves every length up to its own: columns beyond the keys are ignored.
 */
import type { Tensor } from '../../src/onnx/tensor.js'
import { tensorFromBytes } from '../../src/onnx/tensor.js'

export interface BlockLayout {
  /** L × (R+1) */
  readonly rows: readonly Int32Array[]
  /** L lists of one length, filled up with −1. */
  readonly columns: readonly Int32Array[]
}

export interface LayoutSize {
  /** Blocks of queries and of keys. */
  readonly queryBlocks: number
  readonly keyBlocks: number
  /** Layouts: 1, or one for each head or group of heads. */
  readonly layouts?: number
}

/** The layout of the blocks for which `isKept` holds. */
export function layoutOf(
  { queryBlocks, keyBlocks, layouts = 1 }: LayoutSize,
  isKept: (row: number, column: number, layout: number) => boolean,
): BlockLayout {
  return fromColumns(
    Array.from({ length: layouts }, (_, layout) =>
      Array.from({ length: queryBlocks }, (_row, row) => {
        const kept: number[] = []
        for (let column = 0; column < keyBlocks; column++)
          if (isKept(row, column, layout)) kept.push(column)
        return kept
      }),
    ),
  )
}

/** The layout that keeps `columns[layout][row]`. */
export function fromColumns(columns: readonly (readonly (readonly number[])[])[]): BlockLayout {
  const counts = columns.map((rows) => rows.reduce((sum, row) => sum + row.length, 0))
  const width = Math.max(1, ...counts)
  return {
    rows: columns.map((rows) => {
      const begins = new Int32Array(rows.length + 1)
      for (const [row, list] of rows.entries())
        begins[row + 1] = (begins[row] as number) + list.length
      return begins
    }),
    columns: columns.map((rows) => {
      const list = new Int32Array(width).fill(-1)
      list.set(rows.flat())
      return list
    }),
  }
}

/** Inputs `block_rows` [L, R+1] and `block_columns` [L, N] of the operator. */
export const layoutTensors = ({
  rows,
  columns,
}: BlockLayout): { rows: Tensor; columns: Tensor } => ({
  rows: int32Tensor(rows),
  columns: int32Tensor(columns),
})

function int32Tensor(lists: readonly Int32Array[]): Tensor {
  const width = lists[0]?.length ?? 0
  const data = new Int32Array(lists.length * width)
  for (const [index, list] of lists.entries()) data.set(list, index * width)
  return tensorFromBytes('int32', [lists.length, width], new Uint8Array(data.buffer))
}

/** Columns of a row of a layout. */
export function keptColumns(layout: BlockLayout, index: number, row: number): Int32Array {
  const rows = layout.rows[index]
  return layout.columns[index]?.subarray(rows?.[row] ?? 0, rows?.[row + 1] ?? 0) ?? new Int32Array()
}

/** Share of the blocks that is kept. */
export function density(layout: BlockLayout, keyBlocks: number): number {
  const kept = layout.rows.reduce((sum, rows) => sum + (rows.at(-1) ?? 0), 0)
  const all = layout.rows.reduce((sum, rows) => sum + (rows.length - 1) * keyBlocks, 0)
  return all === 0 ? 0 : kept / all
}
