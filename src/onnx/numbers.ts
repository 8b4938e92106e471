/** Tensors that go in and out of a session, and their exchange with constants of a graph. */
import type { DataType } from './data-type.js'
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
  from(values: Iterable<number>): TypedArray
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

/** Numbers as a tensor of the type asked for; integers are cut towards zero, halves rounded. */
export function tensorOf(
  dataType: DataType,
  dims: readonly number[],
  values: ArrayLike<number>,
): RuntimeTensor {
  const whole = (value: number): bigint => BigInt(Math.trunc(value))
  if (dataType === 'int64')
    return { dataType, dims, data: BigInt64Array.from(Array.from(values, whole)) }
  if (dataType === 'uint64')
    return { dataType, dims, data: BigUint64Array.from(Array.from(values, whole)) }
  if (dataType === 'float16') return { dataType, dims, data: Uint16Array.from(values, toHalf) }
  if (dataType === 'bfloat16') return { dataType, dims, data: Uint16Array.from(values, toBrain) }
  if (dataType === 'float32' && values instanceof Float32Array)
    return { dataType, dims, data: values.slice() }
  const Type = arrayTypeOf(dataType) ?? (Float32Array as unknown as ArrayType)
  return { dataType, dims, data: Type.from(Array.from(values)) }
}

/** Elements as ordinary numbers. */
export function numbersOf(tensor: RuntimeTensor): Float64Array | Float32Array {
  const { data, dataType } = tensor
  if (data instanceof Float32Array || data instanceof Float64Array) return data
  if (dataType === 'float16') return Float32Array.from(data as Uint16Array, fromHalf)
  if (dataType === 'bfloat16') return Float32Array.from(data as Uint16Array, fromBrain)
  return Float64Array.from(data as ArrayLike<number | bigint>, Number)
}

/** A constant's elements, or undefined for types that sessions don't exchange. */
export function fromConstant(tensor: Tensor): RuntimeTensor | undefined {
  const Type = arrayTypeOf(tensor.dataType)
  if (!Type) return undefined
  const data = new Type(Uint8Array.from(tensor.bytes()).buffer)
  return { dataType: tensor.dataType, dims: tensor.dims, data }
}

export const toConstant = ({ dataType, dims, data }: RuntimeTensor): Tensor =>
  tensorFromBytes(dataType, dims, new Uint8Array(data.buffer, data.byteOffset, data.byteLength))

/** Half precision bits → number. */
export function fromHalf(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1
  const exponent = (bits >> 10) & 0x1f
  const fraction = bits & 0x3ff
  if (exponent === 0) return sign * fraction * 2 ** -24
  if (exponent === 31) return fraction ? Number.NaN : sign * Number.POSITIVE_INFINITY
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15)
}

/** Number → half precision bits, ties to even. */
export function toHalf(value: number): number {
  const bits = new Uint32Array(Float32Array.of(value).buffer)[0] as number
  const sign = (bits >>> 16) & 0x8000
  const magnitude = bits & 0x7fffffff
  if (magnitude >= 0x7f800000) return sign | (magnitude > 0x7f800000 ? 0x7e00 : 0x7c00)
  if (magnitude >= 0x477ff000) return sign | 0x7c00
  if (magnitude < 0x38800000) {
    const scaled = Math.abs(value) * 2 ** 24
    const floor = Math.floor(scaled)
    const rest = scaled - floor
    const up = rest > 0.5 || (rest === 0.5 && floor % 2 === 1)
    return sign | (up ? floor + 1 : floor)
  }
  const rounded = magnitude + 0xfff + ((magnitude >> 13) & 1)
  return sign | ((rounded - 0x38000000) >>> 13)
}

/** bfloat16 bits → number: the upper half of a float32. */
export const fromBrain = (bits: number): number =>
  new Float32Array(Uint32Array.of(bits << 16).buffer)[0] as number

/** Number → bfloat16 bits, ties to even. */
export function toBrain(value: number): number {
  const bits = new Uint32Array(Float32Array.of(value).buffer)[0] as number
  if (Number.isNaN(value)) return (bits >>> 16) | 0x40
  return ((bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16) & 0xffff
}
