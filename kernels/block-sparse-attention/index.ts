/**
 * Attention over the blocks of a fixed layout. Query block r of the layout holds positions
 * r·query_block …, wherever the queries begin.
 */
import {
  type AttentionSizes,
  type BlockAttentionAttributes,
  checkLayoutCount,
} from '../block-attention/attributes.js'
import { blockAttention } from '../block-attention/operator.js'
import { kernelError } from '../kernel.js'
import { columnsOfRows } from './rows-body.js'

const NAME = 'BlockSparseAttention'

export const blockSparseAttention = blockAttention({
  name: NAME,
  inputs: [
    { name: 'block_rows', shape: '[L, R+1] of int32' },
    { name: 'block_columns', shape: '[L, N] of int32' },
  ],
  check([rows, columns], sizes) {
    for (const [name, each] of Object.entries({ block_rows: rows, block_columns: columns }))
      if (each?.dims.length !== 2 || each.dataType !== 'int32')
        throw refuse(
          `"${name}" is ${each ? `${each.dataType} [${each.dims}]` : 'missing'}; expected int32 of 2 dimensions.`,
        )
    const L = rows?.dims[0] as number
    if (columns?.dims[0] !== L)
      throw refuse(
        `"block_rows" has ${L} layouts and "block_columns" ${columns?.dims[0]}; expected one number.`,
      )
    checkLayoutCount(NAME, 'block_rows', L, sizes)
  },
  kept([rows, columns], sizes, attributes) {
    if (!rows || !columns) throw new TypeError('inputs were checked')
    const [L, width] = rows.dims as [number, number]
    const list = columns.dims[1] as number
    const begins = rows.data as Int32Array
    checkRows(begins, rows.dims, list, sizes, attributes)
    return (_batch, head, row) => {
      const layout = Math.floor((head * L) / sizes.H)
      const at = layout * width + row
      const base = layout * list
      return (columns.data as Int32Array).subarray(
        base + (begins[at] as number),
        base + (begins[at + 1] as number),
      )
    }
  },
  choose(build, [rows, columns]) {
    if (!rows || !columns) throw new TypeError('inputs were checked')
    return columnsOfRows(build, rows, columns)
  },
})

const refuse = (message: string) => kernelError('KERNEL_INPUT', NAME, message)

/** Rows have to rise within the columns, and to reach the last query. */
function checkRows(
  begins: Int32Array,
  [L, width]: readonly number[],
  columns: number,
  { start, S }: AttentionSizes,
  { queryBlock }: BlockAttentionAttributes,
): void {
  const needed = Math.ceil((start + S) / queryBlock)
  if ((width as number) - 1 < needed)
    throw refuse(
      `"block_rows" has ${(width as number) - 1} rows of ${queryBlock} queries; positions up to ${start + S} need ${needed}.`,
    )
  for (let layout = 0; layout < (L as number); layout++)
    for (let row = 0; row < (width as number); row++) {
      const at = begins[layout * (width as number) + row] as number
      const before = row === 0 ? 0 : (begins[layout * (width as number) + row - 1] as number)
      if (at < before || at > columns)
        throw refuse(
          `"block_rows" [${layout}, ${row}] is ${at}; expected ${before} to ${columns}, rising.`,
        )
    }
}
