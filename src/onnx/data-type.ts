/**
 * ONNX tensor element types: their names, their numbers in the file format and their sizes in bits.
 * Sub-byte types are packed, the first element in the low bits of the first byte.
 * Source: ONNX IR specification, TensorProto.DataType (IR 13).
 */

const table = {
  float32: [1, 32],
  uint8: [2, 8],
  int8: [3, 8],
  uint16: [4, 16],
  int16: [5, 16],
  int32: [6, 32],
  int64: [7, 64],
  string: [8, 0],
  bool: [9, 8],
  float16: [10, 16],
  float64: [11, 64],
  uint32: [12, 32],
  uint64: [13, 64],
  complex64: [14, 64],
  complex128: [15, 128],
  bfloat16: [16, 16],
  float8e4m3fn: [17, 8],
  float8e4m3fnuz: [18, 8],
  float8e5m2: [19, 8],
  float8e5m2fnuz: [20, 8],
  uint4: [21, 4],
  int4: [22, 4],
  float4e2m1: [23, 4],
  float8e8m0: [24, 8],
  uint2: [25, 2],
  int2: [26, 2],
} as const satisfies Record<string, readonly [code: number, bits: number]>

export type DataType = keyof typeof table

export const dataTypes = Object.keys(table) as readonly DataType[]

const byCode = new Map<number, DataType>(dataTypes.map((name) => [table[name][0], name]))

/** The number that stands for a type in a file. */
export const dataTypeCode = (type: DataType): number => table[type][0]

/** The type that a number in a file stands for, or undefined for a number of a later format. */
export const findDataType = (code: number): DataType | undefined => byCode.get(code)

/** Bits of one element; 0 for strings, which have no fixed size. */
export const bitsPerElement = (type: DataType): number => table[type][1]

/** Bytes that `count` packed elements take. */
export const packedByteLength = (type: DataType, count: number): number =>
  Math.ceil((count * table[type][1]) / 8)

const floating: ReadonlySet<DataType> = new Set([
  'float32',
  'float16',
  'float64',
  'bfloat16',
  'float8e4m3fn',
  'float8e4m3fnuz',
  'float8e5m2',
  'float8e5m2fnuz',
  'float4e2m1',
  'float8e8m0',
])

export const isFloating = (type: DataType): boolean => floating.has(type)
