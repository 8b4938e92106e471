/** NumPy's .npy and .npz (NEP 1): arrays by name, read and written. */
import { readFileSync } from 'node:fs'
import { basename } from 'node:path'
import { unzipSync, type Zippable, zipSync } from 'fflate'
import { AttncError } from '../errors.js'
import type { DataType } from '../onnx/data-type.js'
import { arrayTypeOf, type RuntimeTensor, tensorOf } from '../onnx/numbers.js'
import { elementCount } from '../onnx/tensor.js'

const types: Readonly<Record<string, DataType>> = {
  f2: 'float16',
  f4: 'float32',
  f8: 'float64',
  i1: 'int8',
  i2: 'int16',
  i4: 'int32',
  i8: 'int64',
  u1: 'uint8',
  u2: 'uint16',
  u4: 'uint32',
  u8: 'uint64',
  b1: 'bool',
}

/** Arrays of a .npz by name; a .npy has one, named after the file. Errors: FILE_UNREADABLE, ARRAY_FORMAT. */
export function readArrays(path: string): Record<string, RuntimeTensor> {
  let bytes: Uint8Array
  try {
    bytes = readFileSync(path)
  } catch (cause) {
    throw new AttncError('FILE_UNREADABLE', 'usage', `"${path}" can't be read.`, { cause })
  }
  if (!path.endsWith('.npz')) return { [basename(path, '.npy')]: parseNpy(bytes, path) }
  let entries: Record<string, Uint8Array>
  try {
    entries = unzipSync(bytes)
  } catch (cause) {
    throw formatError(path, 'it is not a zip archive, or cut short', cause)
  }
  return Object.fromEntries(
    Object.entries(entries)
      .filter(([name]) => name.endsWith('.npy'))
      .map(([name, data]) => [name.slice(0, -4), parseNpy(data, `${path}/${name}`)]),
  )
}

function parseNpy(bytes: Uint8Array, what: string): RuntimeTensor {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  if (bytes.length < 12 || view.getUint32(0) !== 0x934e554d)
    throw formatError(what, 'it does not begin as a .npy does')
  const isFirst = bytes[6] === 1
  const length = isFirst ? view.getUint16(8, true) : view.getUint32(8, true)
  const start = isFirst ? 10 : 12
  const header = new TextDecoder('latin1').decode(bytes.subarray(start, start + length))
  const descr = /'descr':\s*'([<>|=])([a-zA-Z]\d+)'/.exec(header)
  const shape = /'shape':\s*\(([^)]*)\)/.exec(header)?.[1]
  const dataType = descr?.[2] === undefined ? undefined : types[descr[2]]
  if (!dataType || descr?.[1] === '>' || shape === undefined)
    throw formatError(what, `its header is ${header.trim()}; little-endian numbers are read`)
  const dims = shape
    .split(',')
    .map((each) => each.trim())
    .filter((each) => each !== '')
    .map(Number)
  const Type = arrayTypeOf(dataType)
  const count = elementCount(dims)
  const size = count * Number(descr?.[2]?.slice(1))
  const data = bytes.slice(start + length, start + length + size)
  if (!Type || data.length !== size)
    throw formatError(what, `it has ${data.length} bytes of numbers; [${dims}] needs ${size}`)
  const tensor = { dataType, dims, data: new Type(data.buffer) }
  return /'fortran_order':\s*True/.test(header) ? fromColumns(tensor) : tensor
}

/** Column-major numbers put in row-major order. */
function fromColumns(tensor: RuntimeTensor): RuntimeTensor {
  const { dims, data, dataType } = tensor
  if (dims.length < 2) return tensor
  const to = data.slice()
  const steps = dims.map((_, axis) => elementCount(dims.slice(0, axis)))
  const index = dims.map(() => 0)
  for (let at = 0; at < data.length; at++) {
    const from = index.reduce((sum, each, axis) => sum + each * (steps[axis] as number), 0)
    to[at] = data[from] as never
    for (let axis = dims.length - 1; axis >= 0; axis--) {
      index[axis] = (index[axis] as number) + 1
      if ((index[axis] as number) < (dims[axis] as number)) break
      index[axis] = 0
    }
  }
  return { dataType, dims, data: to }
}

const formatError = (what: string, text: string, cause?: unknown): AttncError =>
  new AttncError('ARRAY_FORMAT', 'usage', `"${what}" can't be read as an array: ${text}.`, {
    cause,
    suggestions: ['Write it with numpy.save or numpy.savez.'],
  })

/** Float32 arrays as an .npz without compression or times: the same numbers give the same bytes. */
export function writeArrays(arrays: Readonly<Record<string, RuntimeTensor>>): Uint8Array {
  const files: Zippable = {}
  for (const [name, tensor] of Object.entries(arrays)) files[`${name}.npy`] = toNpy(tensor)
  return zipSync(files, { level: 0, mtime: new Date(1980, 0, 1) })
}

function toNpy({ dataType, dims, data }: RuntimeTensor): Uint8Array {
  const code = Object.entries(types).find(([, type]) => type === dataType)?.[0] ?? 'f4'
  const shape = `(${dims.join(', ')}${dims.length === 1 ? ',' : ''})`
  const text = `{'descr': '<${code}', 'fortran_order': False, 'shape': ${shape}, }`
  const header = text.padEnd(Math.ceil((text.length + 11) / 64) * 64 - 11, ' ')
  const bytes = new Uint8Array(10 + header.length + 1 + data.byteLength)
  bytes.set([0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59, 1, 0])
  new DataView(bytes.buffer).setUint16(8, header.length + 1, true)
  bytes.set(new TextEncoder().encode(`${header}\n`), 10)
  bytes.set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength), 11 + header.length)
  return bytes
}

/** Numbers as a float32 array of the shape given. */
export const float32Array = (dims: readonly number[], numbers: ArrayLike<number>): RuntimeTensor =>
  tensorOf('float32', dims, numbers)
