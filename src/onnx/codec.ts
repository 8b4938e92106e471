/**
 * Messages from bytes and back. Nothing is lost on the way: what a later format adds is kept as it was.
 * Reading of model files, whose weights stay where they are, is model-file.ts.
 */
import type protobuf from 'protobufjs/light.js'
import { AttncError } from '../errors.js'
import type { ModelMessage, TensorMessage } from './messages.js'
import { buildSchema } from './schema.js'
import { type EncodedPiece, OnnxReader, OnnxWriter } from './wire.js'

/** An encoded message, to be written piece by piece. */
export interface EncodedMessage {
  readonly byteLength: number
  pieces(): Iterable<EncodedPiece>
}

/** protobufjs types are compiled when first used; this keeps them. */
const schema = buildSchema()

const typeOf = (name: string): protobuf.Type => schema.lookupType(`onnx.${name}`)

export const decodeModel = (bytes: Uint8Array, what = 'the model'): ModelMessage =>
  decode('ModelProto', bytes, what) as ModelMessage

/** A TensorProto by itself, as in the `.pb` files of ONNX test data. */
export const decodeTensor = (bytes: Uint8Array, what = 'the tensor'): TensorMessage =>
  decode('TensorProto', bytes, what) as TensorMessage

export const encodeModel = (message: ModelMessage): EncodedMessage => encode('ModelProto', message)

export const encodeTensor = (message: TensorMessage): EncodedMessage =>
  encode('TensorProto', message)

/** All pieces in one array; for models that are known to be small. */
export function toBytes(encoded: EncodedMessage): Uint8Array {
  const bytes = new Uint8Array(encoded.byteLength)
  let at = 0
  for (const piece of encoded.pieces()) {
    if (piece instanceof Uint8Array) bytes.set(piece, at)
    else piece.read(0, bytes.subarray(at, at + piece.byteLength))
    at += piece.byteLength
  }
  return bytes
}

function encode(type: string, message: object): EncodedMessage {
  const writer = new OnnxWriter()
  typeOf(type).encode(message, writer)
  return writer
}

function decode(type: string, bytes: Uint8Array, what: string): unknown {
  const reader = new OnnxReader(bytes)
  try {
    return typeOf(type).decode(reader)
  } catch (error) {
    throw explain(error, reader.pos, bytes.length, what)
  }
}

function explain(error: unknown, at: number, size: number, what: string): AttncError {
  const detail = error instanceof Error ? error.message : String(error)
  if (detail.includes('max depth'))
    return new AttncError(
      'MODEL_TOO_DEEP',
      'model',
      `Cannot read ${what}: its messages are nested more than 100 deep, which no exporter writes.`,
      { cause: error, suggestions: ['Export the model again; this file is damaged or made up.'] },
    )
  if (error instanceof RangeError)
    return new AttncError(
      'TRUNCATED_MODEL',
      'model',
      `Cannot read ${what}: a field near byte ${at} says that it is longer than the ${size} bytes there are (${detail}).`,
      { cause: error, suggestions: ['Copy or download the file again and compare its size.'] },
    )
  return new AttncError(
    'NOT_PROTOBUF',
    'model',
    `Cannot read ${what}: the bytes near ${at} are not a protobuf message (${detail}).`,
    { cause: error, suggestions: ['Pass a model in the ONNX format.'] },
  )
}
