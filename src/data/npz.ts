/** NumPy's .npy and .npz (NEP 1): arrays by name, read and written. */
import { readFileSync } from 'node:fs'
import { basename } from 'node:path'
import { AttncError } from '../errors.js'
import type { DataType } from '../onnx/data-type.js'
import { arrayTypeOf, type RuntimeTensor } from '../onnx/numbers.js'
import { elementCount } from '../onnx/tensor.js'
import { withZip, type ZipSource, zipParts } from './zip.js'

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

/**
 * Arrays of a .npz by name; a .npy has one, named after the file. `wanted` leaves out the others unread.
 * Errors: FILE_UNREADABLE, ARRAY_FORMAT.
 */
export function readArrays(
  path: string,
  wanted: (name: string) => boolean = () => true,
): Record<string, RuntimeTensor> {
  try {
    if (!path.endsWith('.npz'))
      return { [basename(path, '.npy')]: parseNpy(readFileSync(path), path) }
    return withZip(path, (entries) =>
      Object.fromEntries(
        entries
          .filter(({ name }) => name.endsWith('.npy') && wanted(name.slice(0, -4)))
          .map(({ name, read }) => [name.slice(0, -4), parseNpy(read(), `${path}/${name}`)]),
      ),
    )
  } catch (cause) {
    if (cause instanceof AttncError) throw cause
    if ((cause as NodeJS.ErrnoException).syscall !== undefined)
      throw new AttncError('FILE_UNREADABLE', 'usage', `"${path}" can't be read.`, { cause })
    throw formatError(path, cause instanceof Error ? cause.message : String(cause), cause)
  }
}

/** One array of a .npy. Error: ARRAY_FORMAT. */
export function parseNpy(bytes: Uint8Array, what: string): RuntimeTensor {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  if (bytes.length < 12 || view.getUint32(0) !== 0x934e554d)
    throw formatError(what, 'it does not begin as a .npy does')
  const isFirst = bytes[6] === 1
  const length = isFirst ? view.getUint16(8, true) : view.getUint32(8, true)
  const start = isFirst ? 10 : 12
  const header = new TextDecoder('latin1').decode(bytes.subarray(start, start + length))
  const descr = /'descr':\s*'([<>|=])([a-zA-Z]\d*)'/.exec(header)
  const shape = /'shape':\s*\(([^)]*)\)/.exec(header)?.[1]
  const code = descr?.[2] ?? ''
  if (code.startsWith('O'))
    throw formatError(what, 'it holds pickled Python objects, which are never loaded')
  const dataType = types[code]
  if (!dataType || shape === undefined)
    throw formatError(
      what,
      `its header is ${header.trim().slice(0, 200)}; numbers of the types ${Object.keys(types).join(', ')} are read`,
    )
  const dims = shape
    .split(',')
    .map((each) => each.trim())
    .filter((each) => each !== '')
    .map(Number)
  const Type = arrayTypeOf(dataType)
  const width = Number(code.slice(1))
  const size = elementCount(dims) * width
  // A copy, so that the numbers begin where their type allows.
  const data = new Uint8Array(bytes.subarray(start + length, start + length + size))
  if (!Type || data.length !== size)
    throw formatError(what, `it has ${data.length} bytes of numbers; [${dims}] needs ${size}`)
  if (descr?.[1] === '>') swapBytes(data, width)
  const tensor = { dataType, dims, data: new Type(data.buffer) }
  return /'fortran_order':\s*True/.test(header) ? fromColumns(tensor) : tensor
}

/** Big-endian numbers made little-endian, in place. */
function swapBytes(bytes: Uint8Array, width: number): void {
  for (let at = 0; at < bytes.length; at += width) bytes.subarray(at, at + width).reverse()
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

/** Arrays as an .npz without compression or times: the same numbers give the same bytes. */
export const writeArrays = (arrays: Readonly<Record<string, RuntimeTensor>>): Uint8Array =>
  Buffer.concat([...zipParts(Object.entries(arrays).map(([name, array]) => npyEntry(name, array)))])

/** An array as a file of an .npz; its numbers are passed on, not copied. */
export function npyEntry(name: string, { dataType, dims, data }: RuntimeTensor): ZipSource {
  const code = Object.entries(types).find(([, type]) => type === dataType)?.[0] ?? 'f4'
  const shape = `(${dims.join(', ')}${dims.length === 1 ? ',' : ''})`
  const text = `{'descr': '<${code}', 'fortran_order': False, 'shape': ${shape}, }`
  // The numbers begin at a multiple of 64 bytes of the file.
  const header = `${text.padEnd(Math.ceil((text.length + 11) / 64) * 64 - 11, ' ')}\n`
  const head = Buffer.alloc(10 + header.length)
  head.set([0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59, 1, 0])
  head.writeUInt16LE(header.length, 8)
  head.write(header, 10, 'latin1')
  const numbers = new Uint8Array(data.buffer, data.byteOffset, data.byteLength)
  return { name: `${name}.npy`, parts: [head, numbers] }
}
