/** Tensors that go in and out of a session, and their exchange with constants of a graph. */
import type { DataType } from './data-type.js'
import { pack, toBrain, toHalf, unpackBrains, unpackHalves } from './half-precision.js'
import { elementCount, type Tensor, tensorFromBytes } from './tensor.js'

export type TypedArray =
  | Float32Array
  | Float64Array
  | Int8Array
  | Uint8Array
  | Int16Array
  | Uint16Array
  | Int32Array
  | Uint32Array
  | BigInt64Array
  | BigUint64Array

/** Half precision comes as its bits in a Uint16Array, booleans as bytes. */
export interface RuntimeTensor {
  readonly dataType: DataType
  readonly dims: readonly number[]
  readonly data: TypedArray
}

interface ArrayType {
  new (buffer: ArrayBuffer): TypedArray
  new (length: number): TypedArray
  new (values: ArrayLike<number>): TypedArray
}

const arrays: Partial<Record<DataType, unknown>> = {
  float32: Float32Array,
  float64: Float64Array,
  float16: Uint16Array,
  bfloat16: Uint16Array,
  int8: Int8Array,
  uint8: Uint8Array,
  bool: Uint8Array,
  int16: Int16Array,
  uint16: Uint16Array,
  int32: Int32Array,
  uint32: Uint32Array,
  int64: BigInt64Array,
  uint64: BigUint64Array,
}

export const arrayTypeOf = (type: DataType): ArrayType | undefined =>
  arrays[type] as ArrayType | undefined

/** A tensor of zeros. */
export function zeros(dataType: DataType, dims: readonly number[]): RuntimeTensor {
  const Type = arrayTypeOf(dataType) ?? (Float32Array as unknown as ArrayType)
  return { dataType, dims, data: new Type(elementCount(dims)) }
}

/** A tensor of ones. */
export function ones(dataType: DataType, dims: readonly number[]): RuntimeTensor {
  const tensor = zeros(dataType, dims)
  const [one] = tensorOf(dataType, [1], [1]).data
  ;(tensor.data as { fill(value: unknown): void }).fill(one)
  return tensor
}

/** Numbers as a tensor of the type asked for; integers are cut towards zero, halves rounded. */
export function tensorOf(
  dataType: DataType,
  dims: readonly number[],
  values: ArrayLike<number>,
): RuntimeTensor {
  if (dataType === 'int64') return { dataType, dims, data: new BigInt64Array(wordsOf(values)) }
  if (dataType === 'uint64') return { dataType, dims, data: new BigUint64Array(wordsOf(values)) }
  if (dataType === 'float16') return { dataType, dims, data: pack(values, toHalf) }
  if (dataType === 'bfloat16') return { dataType, dims, data: pack(values, toBrain) }
  if (dataType === 'float32' && values instanceof Float32Array)
    return { dataType, dims, data: values.slice() }
  const Type = arrayTypeOf(dataType) ?? (Float32Array as unknown as ArrayType)
  return { dataType, dims, data: new Type(values) }
}

/** Integers of 64 bits as two words each, the low one first: a BigInt for each number takes ten times as long. */
function wordsOf(values: ArrayLike<number>): ArrayBuffer {
  const words = new Int32Array(2 * values.length)
  for (let i = 0; i < values.length; i++) {
    const value = Math.trunc(values[i] as number)
    if (!Number.isFinite(value)) throw new RangeError(`${values[i]} is no whole number.`)
    // Storing keeps the lower 32 bits.
    words[2 * i] = value
    words[2 * i + 1] = Math.floor(value / 2 ** 32)
  }
  return words.buffer
}

/** Elements as ordinary numbers. */
export function numbersOf(tensor: RuntimeTensor): Float64Array | Float32Array {
  const { data, dataType } = tensor
  if (data instanceof Float32Array || data instanceof Float64Array) return data
  if (dataType === 'float16') return unpackHalves(data as Uint16Array)
  if (dataType === 'bfloat16') return unpackBrains(data as Uint16Array)
  return Float64Array.from(data as ArrayLike<number | bigint>, Number)
}

/** A constant's elements, or undefined for types that sessions don't exchange. */
export function fromConstant(tensor: Tensor): RuntimeTensor | undefined {
  const Type = arrayTypeOf(tensor.dataType)
  if (!Type) return undefined
  const data = new Type(Uint8Array.from(tensor.bytes()).buffer)
  return { dataType: tensor.dataType, dims: tensor.dims, data }
}

/** The number of a tensor that holds nothing else. */
export function onlyNumber(tensor: Tensor | undefined): number | undefined {
  // Asked of any constant, so that of weights nothing is read.
  if (!tensor || elementCount(tensor.dims) !== 1) return undefined
  const read = fromConstant(tensor)
  return read && Number(numbersOf(read)[0])
}

export const toConstant = ({ dataType, dims, data }: RuntimeTensor): Tensor =>
  tensorFromBytes(dataType, dims, new Uint8Array(data.buffer, data.byteOffset, data.byteLength))
