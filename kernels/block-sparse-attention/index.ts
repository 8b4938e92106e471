/**
 * Attention over the blocks of a fixed layout. Query [B, H, S, d], key [B, K, T, d], value
 * [B, K, T, e]: heads before tokens, as caches are stored and so that a block is one piece of
 * memory. Query block r of the layout holds positions r·query_block …, wherever the queries begin.
 */
import type { RuntimeTensor } from '../../src/onnx/numbers.js'
import { tensorOf } from '../../src/onnx/numbers.js'
import {
  type AttentionSizes,
  type BlockAttentionAttributes,
  checkAttributes,
  checkLayoutCount,
  checkMasks,
  decodeAttributes,
  encodeAttributes,
  readSizes,
} from '../block-attention/attributes.js'
import { attentionBody } from '../block-attention/body.js'
import { canRunBlocks } from '../block-attention/can-run.js'
import { referenceAttention } from '../block-attention/reference.js'
import { type Kernel, type KernelType, kernelError } from '../kernel.js'
import { columnsOfRows } from './rows-body.js'

const NAME = 'BlockSparseAttention'

export const blockSparseAttention: Kernel<BlockAttentionAttributes> = {
  name: NAME,
  version: 1,
  inputs: [
    { name: 'query', shape: '[B, H, S, d]' },
    { name: 'key', shape: '[B, K, T, d]' },
    { name: 'value', shape: '[B, K, T, e]' },
    { name: 'block_rows', shape: '[L, R+1] of int32' },
    { name: 'block_columns', shape: '[L, N] of int32' },
    { name: 'key_lengths', shape: '[B] of int32', isOptional: true },
    { name: 'bias', shape: '[1 or B, 1 or H, S, T]', isOptional: true },
  ],
  outputs: [
    { name: 'output', shape: '[B, H, S, e]' },
    { name: 'log_sum_exp', shape: '[B, H, S] of float32', isOptional: true },
  ],
  attributes: (given) => checkAttributes(NAME, given),
  encode: encodeAttributes,
  decode: decodeAttributes,
  infer(inputs, attributes) {
    const { B, H, S, e } = check(inputs, attributes)
    const dataType = (inputs[0] as KernelType).dataType
    return [
      { dataType, dims: [B, H, S, e] },
      { dataType: 'float32', dims: [B, H, S] },
    ]
  },
  reference(inputs, attributes) {
    const sizes = check(inputs, attributes)
    const [query, key, value, rows, columns, keyLengths, bias] = inputs as RuntimeTensor[]
    if (!query || !key || !value || !rows || !columns) throw new TypeError('inputs were checked')
    const [L, width] = rows.dims as [number, number]
    const list = columns.dims[1] as number
    const begins = rows.data as Int32Array
    checkRows(begins, rows.dims, list, sizes, attributes)
    const kept = (_batch: number, head: number, row: number) => {
      const layout = Math.floor((head * L) / sizes.H)
      const at = layout * width + row
      const base = layout * list
      return (columns.data as Int32Array).subarray(
        base + (begins[at] as number),
        base + (begins[at + 1] as number),
      )
    }
    const masks = { query, key, value, keyLengths, bias }
    const { output, logSumExp } = referenceAttention(masks, sizes, attributes, kept)
    const { B, H, S, e } = sizes
    return [
      tensorOf(query.dataType, [B, H, S, e], output),
      tensorOf('float32', [B, H, S], logSumExp),
    ]
  },
  body(build, inputs, attributes, outputs) {
    const [query, key, value, rows, columns, keyLengths, bias] = inputs
    if (!query || !key || !value || !rows || !columns)
      throw kernelError('KERNEL_INPUT', NAME, 'the first five inputs are needed.')
    const masks = { query, key, value, keyLengths, bias }
    const choose = columnsOfRows(build, rows, columns)
    return attentionBody(build, masks, attributes, choose, outputs > 1)
  },
  canRun: (inputs, attributes) => canRunBlocks(() => check(inputs, attributes), inputs),
}

function check(
  inputs: readonly (KernelType | undefined)[],
  attributes: BlockAttentionAttributes,
): AttentionSizes {
  const sizes = readSizes(NAME, inputs, attributes)
  const [, , , rows, columns, lengths, bias] = inputs
  for (const [name, each] of Object.entries({ block_rows: rows, block_columns: columns }))
    if (each?.dims.length !== 2 || each.dataType !== 'int32')
      throw kernelError(
        'KERNEL_INPUT',
        NAME,
        `"${name}" is ${each ? `${each.dataType} [${each.dims}]` : 'missing'}; expected int32 of 2 dimensions.`,
      )
  const L = rows?.dims[0] as number
  if (columns?.dims[0] !== L)
    throw kernelError(
      'KERNEL_INPUT',
      NAME,
      `"block_rows" has ${L} layouts and "block_columns" ${columns?.dims[0]}; expected one number.`,
    )
  checkLayoutCount(NAME, 'block_rows', L, sizes)
  checkMasks(NAME, lengths, bias, sizes)
  return sizes
}

/** Rows have to rise within the columns, and to reach the last query. */
function checkRows(
  begins: Int32Array,
  [L, width]: readonly number[],
  columns: number,
  { start, S }: AttentionSizes,
  { queryBlock }: BlockAttentionAttributes,
): void {
  const refuse = (message: string) => kernelError('KERNEL_INPUT', NAME, message)
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
