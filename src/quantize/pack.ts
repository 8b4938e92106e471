/**
 * Codes as MatMulNBits and GatherBlockQuantized of com.microsoft lay them out: from the low bits of a byte on.
 * Source: ContribOperators.md of ONNX Runtime; every layout is held against the kernels by test. The
 * surprise: a product pads its last block with codes, a lookup doesn't, so bytes are the same in both
 * only where blocks are full; those are one content in a file.
 */
import type { DataType } from '../onnx/data-type.js'
import { tensorOf, toConstant } from '../onnx/numbers.js'
import { type Tensor, tensorFromBytes } from '../onnx/tensor.js'
import { blocksOf, type Codes, type Grid } from './grid.js'

export interface Packed {
  readonly codes: Tensor
  readonly scales: Tensor
  readonly zeros: Tensor | undefined
}

/** B [N, blocks, bytes of a block], scales and zero points [N, …]. */
export function packForProduct(found: Codes, grid: Grid, type: DataType): Packed {
  const { outputs, inputs, codes } = found
  const blocks = blocksOf(inputs, grid)
  const padded = blocks * grid.block
  const bytes = packRows(codes, outputs, inputs, padded, grid.bits)
  const dims = [outputs, blocks, (grid.block * grid.bits) / 8]
  const packed = tensorFromBytes('uint8', dims, bytes)
  return {
    codes: padded === inputs ? { ...packed, content: codes } : packed,
    ...packScales(found, grid, type),
  }
}

/** data [rows, bytes], scales [rows, blocks], zero points packed likewise. */
export function packForLookup(found: Codes, grid: Grid, type: DataType): Packed {
  const { outputs, inputs, codes } = found
  const bytes = packRows(codes, outputs, inputs, inputs, grid.bits)
  const dims = [outputs, bytes.length / outputs]
  const packed = { ...tensorFromBytes('uint8', dims, bytes), content: codes }
  return { codes: packed, ...packScales(found, grid, type) }
}

function packScales({ outputs, inputs, scales, zeros }: Codes, grid: Grid, type: DataType) {
  const blocks = blocksOf(inputs, grid)
  const packed = packRows(zeros, outputs, blocks, blocks, grid.bits)
  const dims = [outputs, packed.length / outputs]
  return {
    scales: { ...toConstant(tensorOf(type, [outputs, blocks], scales)), content: scales },
    zeros: grid.symmetric
      ? undefined
      : { ...tensorFromBytes('uint8', dims, packed), content: zeros },
  }
}

/** Each row from a byte of its own. */
function packRows(
  codes: Uint8Array,
  rows: number,
  length: number,
  padded: number,
  bits: Grid['bits'],
): Uint8Array {
  if (bits === 8 && padded === length) return codes
  const perByte = 8 / bits
  const stride = Math.ceil(padded / perByte)
  const bytes = new Uint8Array(rows * stride)
  for (let row = 0, at = 0; row < rows; row++)
    for (let i = 0; i < length; i++, at++) {
      const place = row * stride + Math.floor(i / perByte)
      bytes[place] = (bytes[place] as number) | ((codes[at] as number) << ((i % perByte) * bits))
    }
  return bytes
}
