/**
 * Bytes ↔ messages. Fields that the schema doesn't know are kept and written back, so an untouched
 * model comes back with every byte of meaning. Raw data is a view of the input, never a copy.
 */
import Long from 'long'
import protobuf from 'protobufjs'
import { AttncError } from '../errors.js'
import type { ModelMessage, TensorMessage } from './messages.js'
import { descriptor } from './schema.js'
import { describeContent } from './sniff.js'

protobuf.util.Long = Long
protobuf.configure()

const root = protobuf.Root.fromJSON(descriptor)

/** Decodes one message of the schema; `what` names the input in errors. */
export function decode<T>(type: string, bytes: Uint8Array, what: string): T {
  const reader = protobuf.Reader.create(bytes)
  reader.discardUnknown = false
  try {
    return root.lookupType(type).decode(reader) as unknown as T
  } catch (cause) {
    throw unreadable(bytes, what, cause)
  }
}

export function decodeModel(bytes: Uint8Array, what: string): ModelMessage {
  if (bytes.length === 0)
    throw new AttncError('EMPTY_MODEL', 'model', `"${what}" is empty; an ONNX model was expected.`)
  const model = decode<ModelMessage>('ModelProto', bytes, what)
  if (!model.graph) throw unreadable(bytes, what, undefined)
  return model
}

export const decodeTensor = (bytes: Uint8Array, what: string): TensorMessage =>
  decode('TensorProto', bytes, what)

/** Encodes a message; its parts that were decoded keep their unknown fields. */
export const encode = (type: string, message: object): Uint8Array =>
  root
    .lookupType(type)
    .encode(message as protobuf.Message)
    .finish()

function unreadable(bytes: Uint8Array, what: string, cause: unknown): AttncError {
  const found = describeContent(bytes)
  if (!found && cause instanceof RangeError)
    return new AttncError(
      'TRUNCATED_MODEL',
      'model',
      `"${what}" ends in the middle of a field: it is cut short or damaged (${bytes.length} bytes).`,
      { cause, suggestions: ['Copy or download the file again and compare its size.'] },
    )
  return new AttncError(
    'NOT_A_MODEL',
    'model',
    `"${what}" is not an ONNX model: ${found ?? 'its bytes are no protobuf message with a graph'}.`,
    { cause, suggestions: ['Give an .onnx file, or a folder that holds one.'] },
  )
}
