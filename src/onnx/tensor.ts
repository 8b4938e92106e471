/**
 * A constant tensor whose bytes are fetched when they are asked for.
 * Weights stay in their file until someone reads them; a slice of a weight is a recipe, not a copy.
 * Bytes are little-endian and packed as in `raw_data`, whatever field of the file they came from.
 */
import { bitsPerElement, type DataType, packedByteLength } from './data-type.js'

export interface Tensor {
  readonly dataType: DataType
  readonly dims: readonly number[]
  /** Length of `bytes()`; 0 for strings. */
  readonly byteLength: number
  /** Packed content. Read anew or cached; never to be modified by the caller. */
  bytes(): Uint8Array
  /** Content of a string tensor, as UTF-8 bytes each. */
  readonly strings?: readonly Uint8Array[]
  /** Where the bytes lie, when they lie unchanged in a file: lets a writer copy without reading into memory. */
  readonly file?: { readonly path: string; readonly offset: number }
  /** The TensorProto it was read from, so that an untouched tensor is written as it was. */
  readonly message?: unknown
}

export const elementCount = (dims: readonly number[]): number =>
  dims.reduce((product, dim) => product * dim, 1)

/** A tensor in memory. `bytes` must have the packed length of `dims`. */
export function tensorFromBytes(
  dataType: DataType,
  dims: readonly number[],
  bytes: Uint8Array,
): Tensor {
  return { dataType, dims, byteLength: bytes.byteLength, bytes: () => bytes }
}

/** A tensor made when it is read, for instance at the moment it is written to a file. */
export function lazyTensor(
  dataType: DataType,
  dims: readonly number[],
  make: () => Uint8Array,
): Tensor {
  return {
    dataType,
    dims,
    byteLength: packedByteLength(dataType, elementCount(dims)),
    bytes: make,
  }
}

const bytesOf = (array: ArrayBufferView): Uint8Array =>
  new Uint8Array(array.buffer, array.byteOffset, array.byteLength)

export const float32Tensor = (dims: readonly number[], data: ArrayLike<number>): Tensor =>
  tensorFromBytes('float32', dims, bytesOf(Float32Array.from(data)))

export const int64Tensor = (dims: readonly number[], data: ArrayLike<number | bigint>): Tensor =>
  tensorFromBytes('int64', dims, bytesOf(BigInt64Array.from(Array.from(data, BigInt))))

/**
 * Elements of an axis of a tensor, in the order given: `dims[axis]` becomes `keep.length`.
 * The bytes are gathered when the result is read. Works for packed types of 2 and 4 bits too.
 */
export function gatherAxis(tensor: Tensor, axis: number, keep: readonly number[]): Tensor {
  const dims = tensor.dims.with(axis, keep.length)
  if (tensor.strings) {
    const inner = elementCount(tensor.dims.slice(axis + 1))
    const size = tensor.dims[axis] as number
    const outer = elementCount(tensor.dims.slice(0, axis))
    const strings: Uint8Array[] = []
    for (let o = 0; o < outer; o++)
      for (const k of keep)
        for (let i = 0; i < inner; i++)
          strings.push(tensor.strings[(o * size + k) * inner + i] as Uint8Array)
    return { dataType: 'string', dims, byteLength: 0, bytes: () => new Uint8Array(), strings }
  }
  return lazyTensor(tensor.dataType, dims, () => gatherBytes(tensor, axis, keep))
}

function gatherBytes(tensor: Tensor, axis: number, keep: readonly number[]): Uint8Array {
  const bits = bitsPerElement(tensor.dataType)
  const source = tensor.bytes()
  const outer = elementCount(tensor.dims.slice(0, axis))
  const size = tensor.dims[axis] as number
  const inner = elementCount(tensor.dims.slice(axis + 1))
  const target = new Uint8Array(packedByteLength(tensor.dataType, outer * keep.length * inner))
  const runs = asRuns(keep)
  if ((inner * bits) % 8 === 0) {
    const stride = (inner * bits) / 8
    let at = 0
    for (let o = 0; o < outer; o++)
      for (const [start, length] of runs) {
        const from = (o * size + start) * stride
        target.set(source.subarray(from, from + length * stride), at)
        at += length * stride
      }
    return target
  }
  // Elements of 2 or 4 bits that don't start on a byte: one by one.
  const perByte = 8 / bits
  const mask = (1 << bits) - 1
  let at = 0
  for (let o = 0; o < outer; o++)
    for (const k of keep)
      for (let i = 0; i < inner; i++, at++) {
        const from = (o * size + k) * inner + i
        const element =
          ((source[Math.floor(from / perByte)] as number) >> ((from % perByte) * bits)) & mask
        const byte = Math.floor(at / perByte)
        target[byte] = (target[byte] as number) | (element << ((at % perByte) * bits))
      }
  return target
}

/** Ascending neighbours joined: [3, 4, 5, 9] → [[3, 3], [9, 1]]. */
function asRuns(keep: readonly number[]): [start: number, length: number][] {
  const runs: [number, number][] = []
  for (const index of keep) {
    const last = runs.at(-1)
    if (last && last[0] + last[1] === index) last[1]++
    else runs.push([index, 1])
  }
  return runs
}
