/** Every field of every message, filled, comes back: read, compared, and written to the same bytes. */
import type protobuf from 'protobufjs/light.js'
import { expect, test } from 'vitest'
import { decodeModel, encodeModel, toBytes } from '../../src/onnx/codec.js'
import type { ModelMessage } from '../../src/onnx/messages.js'
import { buildSchema } from '../../src/onnx/schema.js'

const schema = buildSchema()
const scalars: Readonly<Record<string, unknown>> = {
  int32: -7,
  int64: -(2n ** 40n),
  float: 1.5,
  string: 'ü',
  bytes: Uint8Array.of(0, 255),
}

/** Messages hold themselves (graphs in attributes), so a field that holds one is filled once. */
function filled(name: string, seen: Set<string>): object {
  const entries = schema.lookupType(`onnx.${name}`).fieldsArray.flatMap((field) => {
    const path = `${name}.${field.name}`
    const isMessage = !(field.type in scalars)
    if (isMessage && seen.has(path)) return []
    seen.add(path)
    const value = isMessage ? filled(field.type, seen) : scalars[field.type]
    return [[field.name, field.repeated ? [value, value] : value] as const]
  })
  return Object.fromEntries(entries)
}

/** What a message says, without the empty lists that a reader adds. */
function stated(message: unknown): unknown {
  if (Array.isArray(message)) return message.map(stated)
  if (typeof message !== 'object' || message === null) return message
  if (ArrayBuffer.isView(message)) return [...(message as Uint8Array)]
  return Object.fromEntries(
    Object.entries(message)
      .filter(([, value]) => !(Array.isArray(value) && value.length === 0))
      .map(([key, value]) => [key, stated(value)]),
  )
}

test('every field of every message comes back', () => {
  const seen = new Set<string>()
  const message = filled('ModelProto', seen) as ModelMessage
  const { nestedArray } = schema.lookup('onnx') as protobuf.Namespace
  const all = (nestedArray as protobuf.Type[]).flatMap((type) =>
    type.fieldsArray.map((field) => `${type.name}.${field.name}`),
  )
  expect([...seen].sort()).toEqual(all.sort())
  const bytes = toBytes(encodeModel(message))
  const back = decodeModel(bytes)
  expect(stated(back)).toEqual(stated(message))
  expect(Buffer.compare(toBytes(encodeModel(back)), bytes)).toBe(0)
})
