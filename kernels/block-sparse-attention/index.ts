/**
 * Attention over the blocks of a fixed layout. Query block r of the layout holds positions
 * r·query_block …, wherever the queries begin.
 */
import { checkLayoutCount } from '../block-attention/attributes.js'
import { blockAttention } from '../block-attention/operator.js'
import { kernelError } from '../kernel.js'
import { keptBlocks } from './kept.js'
import { columnsOfRows } from './rows-body.js'

const NAME = 'BlockSparseAttention'

export const blockSparseAttention = blockAttention({
  name: NAME,
  inputs: [
    { name: 'block_rows', shape: '[L, R+1]', type: 'int32' },
    { name: 'block_columns', shape: '[L, N]', type: 'int32' },
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
  kept: keptBlocks,
  choose(build, [rows, columns]) {
    if (!rows || !columns) throw new TypeError('inputs were checked')
    return columnsOfRows(build, rows, columns)
  },
})

const refuse = (message: string) => kernelError('KERNEL_INPUT', NAME, message)
