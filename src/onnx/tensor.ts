/**
 * A constant tensor whose bytes are fetched when they are asked for.
 * Weights stay in their file until someone reads them; a slice of a weight is a recipe, not a copy.
 * Bytes are little-endian and packed as in `raw_data`, whatever field of the file they came from.
 */
import { type DataType, packedByteLength } from './data-type.js'

export interface Tensor {
  readonly dataType: DataType
  readonly dims: readonly number[]
  /** Length of `bytes()`; 0 for strings. */
  readonly byteLength: number
  /** Packed content. Read anew or cached; never to be modified by the caller. */
  bytes(): Uint8Array
  /** Fills `target` with the bytes from `from` on, without holding the rest; for large tensors. */
  read?(from: number, target: Uint8Array): void
  /** Content of a string tensor, as UTF-8 bytes each. */
  readonly strings?: readonly Uint8Array[]
  /** Where the bytes lie, when they lie unchanged in a file: lets a writer copy without reading into memory. */
  readonly file?: { readonly path: string; readonly offset: number }
  /** Tensors of one content hold the same bytes in other shapes: a file has them once. */
  readonly content?: object
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
  return {
    dataType,
    dims,
    byteLength: bytes.byteLength,
    bytes: () => bytes,
    read: (from, target) => target.set(bytes.subarray(from, from + target.length)),
  }
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

/** A tensor made when it is first read, and kept: for what many look at, and what may never be read at all. */
export function keptTensor(
  dataType: DataType,
  dims: readonly number[],
  make: () => Uint8Array,
): Tensor {
  let made: Uint8Array | undefined
  const bytes = (): Uint8Array => {
    made ??= make()
    return made
  }
  return {
    ...lazyTensor(dataType, dims, bytes),
    read: (from, target) => target.set(bytes().subarray(from, from + target.length)),
  }
}

/** Tensors of one key hold the same bytes, which a file has once; undefined where that isn't known. */
export const contentKey = ({ content, file, byteLength }: Tensor): string | object | undefined =>
  content ?? (file && `${byteLength}\0${file.offset}\0${file.path}`)

const bytesOf = (array: ArrayBufferView): Uint8Array =>
  new Uint8Array(array.buffer, array.byteOffset, array.byteLength)

export const float32Tensor = (dims: readonly number[], data: ArrayLike<number>): Tensor =>
  tensorFromBytes('float32', dims, bytesOf(Float32Array.from(data)))

export const int64Tensor = (dims: readonly number[], data: ArrayLike<number | bigint>): Tensor =>
  tensorFromBytes('int64', dims, bytesOf(BigInt64Array.from(Array.from(data, BigInt))))

/** Fills `target` with the bytes of `tensor` from `from` on. */
export function readTensor(tensor: Tensor, from: number, target: Uint8Array): void {
  if (tensor.read) tensor.read(from, target)
  else target.set(tensor.bytes().subarray(from, from + target.length))
}
