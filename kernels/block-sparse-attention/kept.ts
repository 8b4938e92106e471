/** The key blocks that compressed rows keep, read and checked. */
import type { RuntimeTensor } from '../../src/onnx/numbers.js'
import type { AttentionSizes, BlockAttentionAttributes } from '../block-attention/attributes.js'
import type { KeptBlocks } from '../block-attention/reference.js'
import { kernelError } from '../kernel.js'

/** Of block_rows [L, R+1] and block_columns [L, N]. Error: KERNEL_INPUT. */
export function keptBlocks(
  [rows, columns]: readonly RuntimeTensor[],
  sizes: AttentionSizes,
  attributes: BlockAttentionAttributes,
): KeptBlocks {
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
}

const refuse = (message: string) => kernelError('KERNEL_INPUT', 'BlockSparseAttention', message)

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
