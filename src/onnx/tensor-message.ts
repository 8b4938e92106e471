/**
 * TensorProto → Tensor: whichever field holds the elements, and external data as views of a file.
 * A location may not leave the model's folder; sizes are checked before anything is allocated.
 */
import { closeSync, openSync, readSync, realpathSync, statSync } from 'node:fs'
import { isAbsolute, join, relative, resolve, sep } from 'node:path'
import { AttncError } from '../errors.js'
import { type DataType, findDataType, packedByteLength } from './data-type.js'
import type { Int, TensorMessage } from './messages.js'
import type { Tensor } from './tensor.js'

const EXTERNAL = 1

/** Where external data may lie; undefined where a model has no folder. */
export type ModelFolder = string | undefined

export function tensorFromMessage(message: TensorMessage, folder: ModelFolder): Tensor {
  const name = message.name ?? ''
  const dataType = findDataType(message.dataType ?? 0)
  if (!dataType)
    throw problem(
      'TENSOR_TYPE_UNKNOWN',
      name,
      `has data type ${message.dataType ?? 0}, which is not known`,
    )
  const dims = (message.dims ?? []).map((dim) => readDim(dim, name))
  const count = dims.reduce((product, dim) => product * dim, 1)
  if (!Number.isSafeInteger(count))
    throw problem('TENSOR_SIZE_MISMATCH', name, `claims ${count} elements, more than can exist`)
  if (dataType === 'string') return stringTensor(message, dims, count, name)
  const byteLength = packedByteLength(dataType, count)
  if (message.dataLocation === EXTERNAL)
    return externalTensor(message, { dataType, dims, byteLength, name, folder })
  return {
    dataType,
    dims,
    byteLength,
    message,
    bytes: inlineBytes(message, dataType, count, byteLength),
  }
}

const problem = (code: string, name: string, text: string): AttncError =>
  new AttncError(code, 'model', `Tensor "${name}" ${text}.`, {
    suggestions: ['The file is damaged or was not written completely: export or copy it again.'],
  })

function readDim(dim: Int, name: string): number {
  const size = Number(dim)
  if (size < 0 || !Number.isSafeInteger(size))
    throw problem('TENSOR_SIZE_MISMATCH', name, `has a dimension of ${dim}`)
  return size
}

function stringTensor(
  message: TensorMessage,
  dims: readonly number[],
  count: number,
  name: string,
): Tensor {
  const strings = message.stringData ?? []
  if (strings.length !== count)
    throw problem(
      'TENSOR_SIZE_MISMATCH',
      name,
      `holds ${strings.length} strings, its shape says ${count}`,
    )
  return {
    dataType: 'string',
    dims,
    byteLength: 0,
    bytes: () => new Uint8Array(),
    strings,
    message,
  }
}

const bytesOf = (array: ArrayBufferView): Uint8Array =>
  new Uint8Array(array.buffer, array.byteOffset, array.byteLength)

/** The packed bytes of a tensor that is in the message itself; typed fields are converted when read. */
function inlineBytes(
  message: TensorMessage,
  dataType: DataType,
  count: number,
  byteLength: number,
): () => Uint8Array {
  const raw = message.rawData
  const name = message.name ?? ''
  if (raw && raw.length > 0) {
    if (raw.length !== byteLength)
      throw problem(
        'TENSOR_SIZE_MISMATCH',
        name,
        `holds ${raw.length} bytes, its shape needs ${byteLength}`,
      )
    return () => raw
  }
  const [values, perEntry] = typedField(message, dataType)
  if (values.length * perEntry < count || values.length > Math.ceil(count / perEntry) + 1)
    throw problem(
      'TENSOR_SIZE_MISMATCH',
      name,
      `holds ${values.length} elements, its shape needs ${count}`,
    )
  let made: Uint8Array | undefined
  return () => {
    made ??= pack(values, dataType)
    return made
  }
}

/** The typed field for a data type, and how many elements one entry of it holds. */
function typedField(
  message: TensorMessage,
  dataType: DataType,
): [values: readonly (number | Int)[], perEntry: number] {
  switch (dataType) {
    case 'float32':
      return [message.floatData ?? [], 1]
    case 'complex64':
      return [message.floatData ?? [], 0.5]
    case 'float64':
      return [message.doubleData ?? [], 1]
    case 'complex128':
      return [message.doubleData ?? [], 0.5]
    case 'int64':
      return [message.int64Data ?? [], 1]
    case 'uint32':
    case 'uint64':
      return [message.uint64Data ?? [], 1]
    case 'uint4':
    case 'int4':
    case 'float4e2m1':
      return [message.int32Data ?? [], 2]
    case 'uint2':
    case 'int2':
      return [message.int32Data ?? [], 4]
    default:
      return [message.int32Data ?? [], 1]
  }
}

function pack(values: readonly (number | Int)[], dataType: DataType): Uint8Array {
  const numbers = values as readonly number[]
  switch (dataType) {
    case 'float32':
    case 'complex64':
      return bytesOf(Float32Array.from(numbers))
    case 'float64':
    case 'complex128':
      return bytesOf(Float64Array.from(numbers))
    case 'int64':
    case 'uint64':
      return bytesOf(BigInt64Array.from(values, (value) => BigInt(value.toString())))
    case 'uint32':
      return bytesOf(Uint32Array.from(values, Number))
    case 'int32':
      return bytesOf(Int32Array.from(numbers))
    case 'uint16':
    case 'int16':
    case 'float16':
    case 'bfloat16':
      return bytesOf(Uint16Array.from(numbers))
    default:
      return Uint8Array.from(numbers)
  }
}

interface ExternalSpec {
  readonly dataType: DataType
  readonly dims: readonly number[]
  readonly byteLength: number
  readonly name: string
  readonly folder: ModelFolder
}

function externalTensor(message: TensorMessage, spec: ExternalSpec): Tensor {
  const entries = new Map((message.externalData ?? []).map(({ key, value }) => [key, value]))
  const location = entries.get('location') ?? ''
  const offset = Number(entries.get('offset') ?? 0)
  const length = entries.has('length') ? Number(entries.get('length')) : spec.byteLength
  const { dataType, dims, byteLength, name } = spec
  if (!Number.isSafeInteger(offset) || offset < 0 || length !== byteLength)
    throw problem(
      'TENSOR_SIZE_MISMATCH',
      name,
      `takes ${length} bytes at ${offset} of "${location}", its shape needs ${byteLength}`,
    )
  const path = externalPath(location, spec)
  const size = fileSize(path, location, name)
  if (offset + byteLength > size)
    throw new AttncError(
      'EXTERNAL_DATA_SHORT',
      'model',
      `Tensor "${name}" needs bytes ${offset} to ${offset + byteLength} of "${location}", which has ${size}.`,
      { suggestions: [`Copy "${location}" again: it is cut short or belongs to another model.`] },
    )
  return {
    dataType,
    dims,
    byteLength,
    message,
    file: { path, offset },
    bytes: () => readRange(path, offset, byteLength),
  }
}

function externalPath(location: string, spec: ExternalSpec): string {
  const outside = (): AttncError =>
    new AttncError(
      'EXTERNAL_DATA_OUTSIDE',
      'model',
      `Tensor "${spec.name}" wants its data from "${location}", outside the model's folder; only files inside it are read.`,
      { suggestions: ['Move the data beside the model and export it with a relative location.'] },
    )
  if (location === '' || isAbsolute(location) || !spec.folder) throw outside()
  const path = resolve(spec.folder, location)
  if (escapes(spec.folder, path)) throw outside()
  try {
    if (escapes(realpathSync(spec.folder), realpathSync(path))) throw outside()
  } catch (error) {
    if (error instanceof AttncError) throw error
  }
  return path
}

function escapes(folder: string, path: string): boolean {
  const way = relative(folder, path)
  return way === '..' || way.startsWith(`..${sep}`) || isAbsolute(way)
}

function fileSize(path: string, location: string, name: string): number {
  try {
    return statSync(path).size
  } catch (cause) {
    throw new AttncError(
      'EXTERNAL_DATA_MISSING',
      'model',
      `Tensor "${name}" has its data in "${location}", which can't be read beside the model.`,
      { cause, suggestions: [`Put "${location}" into the model's folder.`] },
    )
  }
}

/** Bytes of a file, read now. */
export function readRange(path: string, offset: number, length: number): Uint8Array {
  const bytes = new Uint8Array(length)
  const file = openSync(path, 'r')
  try {
    for (let at = 0; at < length; ) {
      const read = readSync(file, bytes, at, Math.min(length - at, 1 << 30), offset + at)
      if (read === 0)
        throw new AttncError(
          'EXTERNAL_DATA_SHORT',
          'model',
          `"${join(path)}" became shorter while it was read.`,
        )
      at += read
    }
  } finally {
    closeSync(file)
  }
  return bytes
}
