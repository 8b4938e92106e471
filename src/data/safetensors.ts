/**
 * Tensors by name in the safetensors format: eight bytes of length, a JSON header, the numbers. Files
 * come from anywhere, so every length and offset is checked against the file before it is used.
 * The format: github.com/huggingface/safetensors, README, "Format".
 */
import { closeSync, fstatSync, openSync, readSync } from 'node:fs'
import { AttncError } from '../errors.js'
import { bitsPerElement, type DataType } from '../onnx/data-type.js'
import { arrayTypeOf, type RuntimeTensor } from '../onnx/numbers.js'
import { elementCount } from '../onnx/tensor.js'

const types: Readonly<Record<string, DataType>> = {
  F64: 'float64',
  F32: 'float32',
  F16: 'float16',
  BF16: 'bfloat16',
  I64: 'int64',
  I32: 'int32',
  I16: 'int16',
  I8: 'int8',
  U8: 'uint8',
  BOOL: 'bool',
}

/** The format's own limit. */
const longestHeader = 100_000_000

interface Entry {
  readonly dtype: string
  readonly shape: readonly number[]
  readonly data_offsets: readonly [number, number]
}

/** All tensors of a file. Error: SAFETENSORS_FORMAT, FILE_UNREADABLE. */
export function readSafetensors(path: string): Map<string, RuntimeTensor> {
  let file: number
  try {
    file = openSync(path, 'r')
  } catch (cause) {
    throw new AttncError('FILE_UNREADABLE', 'usage', `"${path}" can't be read.`, { cause })
  }
  try {
    return readOpen(file, path)
  } finally {
    closeSync(file)
  }
}

function readOpen(file: number, path: string): Map<string, RuntimeTensor> {
  const { size } = fstatSync(file)
  const fail = (text: string): AttncError => formatError(path, text)
  const bytesAt = (from: number, length: number): Uint8Array<ArrayBuffer> => {
    const bytes = new Uint8Array(length)
    if (readSync(file, bytes, 0, length, from) !== length) throw fail('it is cut short')
    return bytes
  }
  if (size < 8) throw fail('it is shorter than its length field')
  const length = Number(new DataView(bytesAt(0, 8).buffer).getBigUint64(0, true))
  if (length > Math.min(longestHeader, size - 8))
    throw fail(`its header would be ${length} bytes long, and the file has ${size}`)
  const header = parseHeader(new TextDecoder().decode(bytesAt(8, length)), fail)
  const start = 8 + length
  const found = new Map<string, RuntimeTensor>()
  let last = 0
  for (const [name, entry] of header) {
    const { dataType, bytes } = checkEntry(name, entry, size - start, fail)
    const [from, to] = entry.data_offsets
    if (from < last) throw fail(`"${name}" lies over another tensor`)
    last = to
    const Type = arrayTypeOf(dataType) as NonNullable<ReturnType<typeof arrayTypeOf>>
    const { buffer } = bytesAt(start + from, bytes)
    found.set(name, { dataType, dims: entry.shape, data: new Type(buffer) })
  }
  return found
}

/** Entries in the order of their bytes. */
function parseHeader(text: string, fail: (text: string) => AttncError): [string, Entry][] {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    throw fail('its header is no JSON')
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw fail('its header is no object')
  const entries = Object.entries(value).filter(([name]) => name !== '__metadata__')
  for (const [name, entry] of entries) {
    const { dtype, shape, data_offsets: offsets } = (entry ?? {}) as Partial<Entry>
    const isCount = (each: unknown): boolean => Number.isSafeInteger(each) && Number(each) >= 0
    const isFine =
      typeof dtype === 'string' &&
      Array.isArray(shape) &&
      shape.every(isCount) &&
      Array.isArray(offsets) &&
      offsets.length === 2 &&
      offsets.every(isCount)
    if (!isFine) throw fail(`"${name}" has no dtype, shape and data_offsets`)
  }
  return (entries as [string, Entry][]).sort(
    ([, a], [, b]) =>
      a.data_offsets[0] - b.data_offsets[0] || a.data_offsets[1] - b.data_offsets[1],
  )
}

function checkEntry(
  name: string,
  { dtype, shape, data_offsets: [from, to] }: Entry,
  room: number,
  fail: (text: string) => AttncError,
): { readonly dataType: DataType; readonly bytes: number } {
  const dataType = types[dtype]
  if (!dataType)
    throw fail(`"${name}" is of type ${dtype}; ${Object.keys(types).join(', ')} are read`)
  const bytes = (elementCount(shape) * bitsPerElement(dataType)) / 8
  if (to > room || to - from !== bytes)
    throw fail(
      `"${name}" [${shape}] would take ${bytes} bytes, and its place is ${from} to ${to} of ${room}`,
    )
  return { dataType, bytes }
}

const formatError = (path: string, text: string): AttncError =>
  new AttncError('SAFETENSORS_FORMAT', 'usage', `"${path}" is no safetensors file: ${text}.`, {
    suggestions: ['Copy or download it again.'],
  })

/** Tensors as a file, in their order. */
export function writeSafetensors(
  tensors: ReadonlyMap<string, RuntimeTensor>,
  metadata: Readonly<Record<string, string>> = {},
): Uint8Array {
  const codes = new Map(Object.entries(types).map(([code, type]) => [type, code]))
  let at = 0
  const entries = [...tensors].map(([name, { dataType, dims, data }]) => {
    const from = at
    at += data.byteLength
    const offsets = [from, at]
    return [name, { dtype: codes.get(dataType), shape: dims, data_offsets: offsets }] as const
  })
  const header = Object.fromEntries([['__metadata__', metadata] as const, ...entries])
  const text = new TextEncoder().encode(JSON.stringify(header))
  // Spaces behind the header, so that the numbers begin where 64-bit types may.
  const length = Math.ceil(text.length / 8) * 8
  const bytes = new Uint8Array(8 + length + at).fill(0x20, 8, 8 + length)
  new DataView(bytes.buffer).setBigUint64(0, BigInt(length), true)
  bytes.set(text, 8)
  let place = 8 + length
  for (const { data } of tensors.values()) {
    bytes.set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength), place)
    place += data.byteLength
  }
  return bytes
}
