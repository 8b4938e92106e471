/**
 * TensorProto ↔ Tensor: whichever field holds the elements. Sizes are compared before anything is
 * allocated. Typed fields become packed bytes here, so that no one else meets an array of numbers.
 */
import { AttncError } from '../errors.js'
import { type DataType, dataTypeCode, findDataType, packedByteLength } from './data-type.js'
import { type ExternalFiles, readLocation } from './external-data.js'
import { type ByteSource, copyMessage, type TensorMessage } from './messages.js'
import type { Tensor } from './tensor.js'
import { isElement, typedField } from './typed-fields.js'
import { countVarints, packVarints } from './varints.js'

/** `data_location` of external data. */
const external = 1

/** A tensor as a file states it. `files` is where external data may lie. */
export function tensorFromMessage(message: TensorMessage, files?: ExternalFiles): Tensor {
  const name = message.name ?? ''
  const dataType = findDataType(message.data_type ?? 0)
  if (!dataType)
    throw new AttncError(
      'UNKNOWN_DATA_TYPE',
      'model',
      `Tensor "${name}" has the element type ${message.data_type ?? 0}; those up to 26 (IR 13) are known.`,
      { suggestions: ['Export the model for IR version 13 or older.'] },
    )
  const dims = readDims(message.dims ?? [], name)
  const count = dims.reduce((product, dim) => product * dim, 1)
  const byteLength = packedByteLength(dataType, count)
  if (!Number.isSafeInteger(byteLength) || !Number.isSafeInteger(count))
    throw mismatch(name, `has the shape [${dims}], which is more than any memory holds`)
  if (dataType === 'string') return stringTensor(message, dims, count, name)
  if (message.data_location === external) {
    if (!files)
      throw new AttncError(
        'EXTERNAL_DATA_MISSING',
        'model',
        `Tensor "${name}" has its data in another file, but this model was given without a folder.`,
        { suggestions: ['Give the path of the model, not its bytes.'] },
      )
    return sourceTensor(files.open(message, byteLength), dataType, dims, message)
  }
  const raw = message.raw_data
  const typed = typedField(message, dataType)
  // A decoded message has an empty list for bytes that the file doesn't have.
  const isThere = raw?.byteLength !== undefined
  if (isThere && (raw.byteLength > 0 || typed.chunks.length === 0)) {
    if (raw.byteLength !== byteLength)
      throw mismatch(
        name,
        `has ${raw.byteLength} bytes, but ${dataType} of shape [${dims}] needs ${byteLength}`,
      )
    if (!(raw instanceof Uint8Array)) return sourceTensor(raw, dataType, dims, message)
    return { dataType, dims, byteLength, message, bytes: once(() => aligned(raw)) }
  }
  const found = typed.varints
    ? typed.chunks.reduce((sum, chunk) => sum + countVarints(chunk), 0)
    : typed.chunks.reduce((sum, chunk) => sum + chunk.length, 0) / typed.width
  const expected = Math.ceil(count * typed.perElement)
  if (found !== expected)
    throw mismatch(
      name,
      `has ${found} numbers in its typed field, but ${dataType} of shape [${dims}] needs ${expected}`,
    )
  const bytes = typed.varints
    ? () => packVarints(typed.chunks, expected, typed.width)
    : () => aligned(join(typed.chunks))
  return { dataType, dims, byteLength, message, bytes: once(bytes) }
}

/**
 * The message of a tensor under a name. One that came from a message keeps what else that said;
 * `original` gives doc string and metadata to a tensor that replaces the one it was read from.
 */
export function tensorToMessage(
  tensor: Tensor,
  name: string | undefined,
  original?: TensorMessage,
): TensorMessage {
  const own = tensor.message as TensorMessage | undefined
  if (own && own.data_type !== undefined && own.data_location !== external)
    return own.name === name || (name ?? '') === (own.name ?? '') ? own : copyMessage(own, { name })
  const { dims, dataType, byteLength } = tensor
  return copyMessage(bare(original ?? own), {
    dims: dims.map(BigInt),
    data_type: dataTypeCode(dataType),
    name,
    ...(tensor.strings
      ? { string_data: tensor.strings }
      : { raw_data: tensor.read ? sourceOf(tensor) : lazySource(tensor, byteLength) }),
  })
}

/** A message whose elements lie in `location`. */
export function externalTensorMessage(
  tensor: Tensor,
  name: string | undefined,
  place: { readonly location: string; readonly offset: number },
  original?: TensorMessage,
): TensorMessage {
  return copyMessage(bare(original ?? (tensor.message as TensorMessage | undefined)), {
    dims: tensor.dims.map(BigInt),
    data_type: dataTypeCode(tensor.dataType),
    name,
    external_data: [
      { key: 'location', value: place.location },
      { key: 'offset', value: String(place.offset) },
      { key: 'length', value: String(tensor.byteLength) },
    ],
    data_location: external,
  })
}

/** Whether a message keeps its elements in another file. */
export const isExternal = (message: TensorMessage): boolean => message.data_location === external

/** Where a message says that its elements lie, as `location\0offset`, if in another file. */
export function readExternalPlace(message: TensorMessage, byteLength: number): string | undefined {
  if (message.data_location !== external) return undefined
  const { location, offset, length } = readLocation(message)
  return length === undefined || length === byteLength ? `${location}\0${offset}` : undefined
}

/** A message without its elements. */
const bare = (message: TensorMessage | undefined): TensorMessage | undefined =>
  message?.data_type === undefined
    ? undefined
    : copyMessage(message, {
        segment: undefined,
        float_data: undefined,
        int32_data: undefined,
        string_data: undefined,
        int64_data: undefined,
        raw_data: undefined,
        double_data: undefined,
        uint64_data: undefined,
        external_data: undefined,
        data_location: undefined,
        $unknowns: message.$unknowns?.filter((field) => !isElement(field)),
      })

const sourceOf = (tensor: Tensor): ByteSource => ({
  byteLength: tensor.byteLength,
  file: tensor.file,
  read: (from, target) => tensor.read?.(from, target),
})

/** Made when the message is written, and not held afterwards. */
const lazySource = (tensor: Tensor, byteLength: number): ByteSource => ({
  byteLength,
  read: (from, target) => target.set(tensor.bytes().subarray(from, from + target.length)),
  whole: () => tensor.bytes(),
})

function sourceTensor(
  source: ByteSource & { bytes?(): Uint8Array },
  dataType: DataType,
  dims: readonly number[],
  message: TensorMessage,
): Tensor {
  const { byteLength } = source
  const readAll = (): Uint8Array => {
    const bytes = new Uint8Array(byteLength)
    source.read(0, bytes)
    return bytes
  }
  return {
    dataType,
    dims,
    byteLength,
    message,
    bytes: () => source.bytes?.() ?? readAll(),
    read: (from, target) => source.read(from, target),
    ...(source.file ? { file: source.file } : {}),
  }
}

function stringTensor(
  message: TensorMessage,
  dims: readonly number[],
  count: number,
  name: string,
): Tensor {
  const strings = message.string_data ?? []
  if (strings.length !== count)
    throw mismatch(name, `has ${strings.length} strings, but its shape [${dims}] needs ${count}`)
  return {
    dataType: 'string',
    dims,
    byteLength: 0,
    message,
    strings,
    bytes: () => new Uint8Array(),
  }
}

function readDims(dims: readonly bigint[], name: string): number[] {
  return dims.map((dim) => {
    if (dim < 0n || dim > BigInt(Number.MAX_SAFE_INTEGER))
      throw mismatch(name, `has the shape [${dims}]; sizes are numbers from 0 on`)
    return Number(dim)
  })
}

const mismatch = (name: string, what: string): AttncError =>
  new AttncError('TENSOR_SIZE_MISMATCH', 'model', `Tensor "${name}" ${what}.`, {
    suggestions: ['The file is damaged: export, copy or download it again.'],
  })

const join = (chunks: readonly Uint8Array[]): Uint8Array =>
  chunks.length === 1 ? (chunks[0] as Uint8Array) : Uint8Array.from(Buffer.concat(chunks))

/** The same bytes where a view of 8-byte numbers may start. */
const aligned = (bytes: Uint8Array): Uint8Array =>
  bytes.byteOffset % 8 === 0 ? bytes : Uint8Array.from(bytes)

function once(make: () => Uint8Array): () => Uint8Array {
  let made: Uint8Array | undefined
  return () => {
    made ??= make()
    return made
  }
}
