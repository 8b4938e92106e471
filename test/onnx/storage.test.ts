/** Every element type in every place that a file may keep it: raw, in its typed field, beside the model. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterAll, describe, expect, test } from 'vitest'
import { decodeTensor, encodeTensor, toBytes } from '../../src/onnx/codec.js'
import {
  bitsPerElement,
  type DataType,
  dataTypeCode,
  dataTypes,
  packedByteLength,
} from '../../src/onnx/data-type.js'
import { ExternalFiles } from '../../src/onnx/external-data.js'
import type { TensorMessage } from '../../src/onnx/messages.js'
import { tensorFromMessage, tensorToMessage } from '../../src/onnx/tensor-message.js'

const folder = mkdtempSync(join(tmpdir(), 'attnc-test-'))
afterAll(() => rmSync(folder, { recursive: true }))

/** Numbers of so many bytes, as varints of 64 bits: negative ones have ten bytes. */
function varints(bytes: Uint8Array, width: number, isSigned: boolean): Uint8Array {
  const encoded: number[] = []
  for (let at = 0; at < bytes.length; at += width) {
    const bits = BigInt(
      `0x${Buffer.from(bytes.slice(at, at + width).reverse()).toString('hex') || '0'}`,
    )
    let rest = isSigned ? BigInt.asUintN(64, BigInt.asIntN(width * 8, bits)) : bits
    for (; rest > 127n; rest >>= 7n) encoded.push(Number(rest & 127n) | 128)
    encoded.push(Number(rest))
  }
  return Uint8Array.from(encoded)
}

/** The field that the specification gives a type, filled. */
function typedField(type: DataType, bytes: Uint8Array): TensorMessage {
  if (type === 'float32' || type === 'complex64') return { float_data: [bytes] }
  if (type === 'float64' || type === 'complex128') return { double_data: [bytes] }
  if (type === 'int64') return { int64_data: [varints(bytes, 8, true)] }
  if (type === 'uint64') return { uint64_data: [varints(bytes, 8, false)] }
  if (type === 'uint32') return { uint64_data: [varints(bytes, 4, false)] }
  const width = Math.max(1, bitsPerElement(type) / 8)
  return { int32_data: [varints(bytes, width, /^int(8|16|32)$/.test(type))] }
}

const numeric = dataTypes.filter((type) => type !== 'string')

describe('an element type', () => {
  test.each(numeric)('%s says the same from every place', (type) => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 33 }), fc.nat(255), (count, seed) => {
        const bytes = Uint8Array.from(
          { length: packedByteLength(type, count) },
          (_, index) => (index * 91 + seed) & 255,
        )
        writeFileSync(join(folder, 'data'), Buffer.concat([Buffer.alloc(9), bytes]))
        const common = { name: 't', data_type: dataTypeCode(type), dims: [BigInt(count)] }
        const external_data = Object.entries({ location: 'data', offset: '9' }).map(
          ([key, value]) => ({ key, value }),
        )
        const places: TensorMessage[] = [
          { ...common, raw_data: bytes },
          { ...common, ...typedField(type, bytes) },
          { ...common, data_location: 1, external_data },
        ]
        for (const place of places) {
          const message = decodeTensor(toBytes(encodeTensor(place)))
          const tensor = tensorFromMessage(message, new ExternalFiles(folder))
          expect(tensor.dataType).toBe(type)
          expect(Buffer.compare(tensor.bytes(), bytes)).toBe(0)
          // Written by itself, it is what it was.
          const again = decodeTensor(toBytes(encodeTensor(tensorToMessage(tensor, 'again'))))
          expect(Buffer.compare(tensorFromMessage(again).bytes(), bytes)).toBe(0)
        }
      }),
      { numRuns: 12, seed: 6 },
    )
  })

  test('string keeps its bytes', () => {
    const string_data = [Uint8Array.of(0xff, 0), Uint8Array.of(), Uint8Array.of(65)]
    const place = { data_type: dataTypeCode('string'), dims: [3n], string_data }
    const tensor = tensorFromMessage(decodeTensor(toBytes(encodeTensor(place))))
    expect(tensor.strings?.map((each) => [...each])).toEqual([[255, 0], [], [65]])
  })
})
