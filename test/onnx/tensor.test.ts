/** Elements of every type from every field, slices of any axis, sizes that lie. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { AttncError } from '../../src/errors.js'
import { decodeTensor } from '../../src/onnx/codec.js'
import {
  bitsPerElement,
  type DataType,
  dataTypeCode,
  dataTypes,
  packedByteLength,
} from '../../src/onnx/data-type.js'
import { FileBytes, stampFile } from '../../src/onnx/file-bytes.js'
import { gatherAxis } from '../../src/onnx/gather-axis.js'
import type { TensorMessage } from '../../src/onnx/messages.js'
import { tensorOf } from '../../src/onnx/numbers.js'
import { sparseTensorFromMessage } from '../../src/onnx/sparse-tensor.js'
import { elementCount, lazyTensor, readTensor, tensorFromBytes } from '../../src/onnx/tensor.js'
import { tensorFromMessage } from '../../src/onnx/tensor-message.js'
import { tensorMessage } from './messages.js'

let folder: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'attnc-test-'))
})
afterEach(() => rmSync(folder, { recursive: true }))

/** Unpacked elements as bigints, for comparing. */
function elements(bytes: Uint8Array, type: DataType, count: number): bigint[] {
  const bits = bitsPerElement(type)
  return Array.from({ length: count }, (_, index) => {
    if (bits < 8) {
      const perByte = 8 / bits
      const byte = bytes[Math.floor(index / perByte)] as number
      return BigInt((byte >> ((index % perByte) * bits)) & ((1 << bits) - 1))
    }
    return BigInt(
      `0x${Buffer.from(bytes.subarray((index * bits) / 8, ((index + 1) * bits) / 8)).toString('hex')}`,
    )
  })
}

const numericTypes = dataTypes.filter((type) => type !== 'string')

/** A tensor of any type and up to four axes, an axis of it, and a keep list in any order. */
const slice = fc
  .record({
    type: fc.constantFrom(...numericTypes),
    dims: fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1, maxLength: 4 }),
  })
  .chain(({ type, dims }) =>
    fc.nat(dims.length - 1).chain((axis) =>
      fc.record({
        type: fc.constant(type),
        dims: fc.constant(dims),
        axis: fc.constant(axis),
        keep: fc.array(fc.nat((dims[axis] as number) - 1), { maxLength: 12 }),
        seed: fc.nat(255),
      }),
    ),
  )

describe('gatherAxis', () => {
  test('takes the elements that the definition says, for every type, from memory and from a file', () => {
    let number = 0
    fc.assert(
      fc.property(slice, ({ type, dims, axis, keep, seed }) => {
        const count = elementCount(dims)
        const bytes = Uint8Array.from(
          { length: packedByteLength(type, count) },
          (_, index) => (index * 37 + seed) & 255,
        )
        const before = elements(bytes, type, count)
        const inner = elementCount(dims.slice(axis + 1))
        const size = dims[axis] as number
        const expected: bigint[] = []
        for (let o = 0; o < elementCount(dims.slice(0, axis)); o++)
          for (const k of keep)
            for (let i = 0; i < inner; i++)
              expected.push(before[(o * size + k) * inner + i] as bigint)
        const path = join(folder, `${number++}`)
        writeFileSync(path, Buffer.concat([Buffer.alloc(3), bytes]))
        const stored = new FileBytes(stampFile(path), 3, bytes.length)
        const fromFile = {
          dataType: type,
          dims,
          byteLength: bytes.length,
          bytes: () => stored.bytes(),
          read: (from: number, target: Uint8Array) => stored.read(from, target),
        }
        for (const tensor of [tensorFromBytes(type, dims, bytes), fromFile]) {
          const result = gatherAxis(tensor, axis, keep)
          expect(result.dims).toEqual(dims.with(axis, keep.length))
          expect(result.bytes().length).toBe(result.byteLength)
          expect(elements(result.bytes(), type, expected.length)).toEqual(expected)
          // In ranges that cut rows anywhere.
          const pieces = new Uint8Array(result.byteLength)
          for (let from = 0; from < pieces.length; from += 7)
            readTensor(result, from, pieces.subarray(from, from + 7))
          expect(Buffer.compare(pieces, result.bytes())).toBe(0)
        }
      }),
      { numRuns: 150, seed: 3 },
    )
  })

  test('takes long runs and short ones of a tensor larger than a block', () => {
    const dims = [300, 4096]
    const values = Float32Array.from({ length: 300 * 4096 }, (_, index) => index)
    const tensor = tensorFromBytes('float32', dims, new Uint8Array(values.buffer))
    const rows = gatherAxis(tensor, 0, [299, 3, 4, 5])
    expect(new Float32Array(rows.bytes().buffer)[4096]).toBe(3 * 4096)
    const columns = gatherAxis(tensor, 1, [4095, 0, 1])
    expect([...new Float32Array(columns.bytes().buffer).slice(-3)]).toEqual([
      300 * 4096 - 1,
      299 * 4096,
      299 * 4096 + 1,
    ])
    const both = gatherAxis(rows, 1, [7])
    expect([...new Float32Array(both.bytes().buffer)]).toEqual(
      [299, 3, 4, 5].map((row) => row * 4096 + 7),
    )
  })

  test('takes scattered rows of a table larger than a block, in ranges of any size', () => {
    const dims = [9000, 150]
    const values = Float32Array.from({ length: 9000 * 150 }, (_, index) => index)
    const tensor = tensorFromBytes('float32', dims, new Uint8Array(values.buffer))
    const keep = [8999, ...Array.from({ length: 2900 }, (_, index) => index * 3), 5]
    const rows = gatherAxis(tensor, 0, keep)
    const expected = keep.flatMap((row) => Array.from({ length: 150 }, (_, i) => row * 150 + i))
    expect(Buffer.compare(rows.bytes(), new Uint8Array(Float32Array.from(expected).buffer))).toBe(0)
    const pieces = new Uint8Array(rows.byteLength)
    for (let from = 0; from < pieces.length; from += 100_001)
      readTensor(rows, from, pieces.subarray(from, from + 100_001))
    expect(Buffer.compare(pieces, rows.bytes())).toBe(0)
  })

  test('computes a tensor that is made on reading once for all ranges', () => {
    let made = 0
    const lazy = lazyTensor('float32', [4096, 512], () => {
      made++
      return new Uint8Array(4096 * 512 * 4)
    })
    gatherAxis(gatherAxis(lazy, 1, [0, 2]), 0, [1, 5]).bytes()
    expect(made).toBe(1)
  })

  test('refuses an index that is not there', () => {
    const tensor = tensorFromBytes('uint8', [2], Uint8Array.of(1, 2))
    expect(() => gatherAxis(tensor, 0, [2])).toThrow('index 2 of axis 0')
    expect(() => gatherAxis(tensor, 1, [0])).toThrow('axis 1')
  })
})

/** Packed chunks of varints, negative numbers as ten bytes. */
function varints(...values: (number | bigint)[]): Uint8Array {
  const bytes: number[] = []
  for (const value of values) {
    let rest = BigInt.asUintN(64, BigInt(value))
    for (; rest > 127n; rest >>= 7n) bytes.push(Number(rest & 127n) | 128)
    bytes.push(Number(rest))
  }
  return Uint8Array.from(bytes)
}

const message = (type: DataType, dims: readonly number[], rest: TensorMessage): TensorMessage => ({
  name: 't',
  data_type: dataTypeCode(type),
  dims: dims.map(BigInt),
  ...rest,
})

const hex = (tensor: TensorMessage): string =>
  Buffer.from(tensorFromMessage(tensor).bytes()).toString('hex')

describe('tensors of messages', () => {
  test.each<[DataType, number[], TensorMessage, string]>([
    [
      'float32',
      [2],
      { float_data: [new Uint8Array(Float32Array.of(1, -2).buffer)] },
      '0000803f000000c0',
    ],
    [
      'complex64',
      [1],
      { float_data: [new Uint8Array(Float32Array.of(1, -2).buffer)] },
      '0000803f000000c0',
    ],
    [
      'float64',
      [1],
      { double_data: [new Uint8Array(Float64Array.of(1).buffer)] },
      '000000000000f03f',
    ],
    ['int64', [2], { int64_data: [varints(-1, 2n ** 62n)] }, 'ffffffffffffffff0000000000000040'],
    [
      'int64',
      [2],
      { int64_data: [varints(300), varints(-300)] },
      '2c01000000000000d4feffffffffffff',
    ],
    ['uint64', [1], { uint64_data: [varints(2n ** 64n - 2n)] }, 'feffffffffffffff'],
    ['uint32', [1], { uint64_data: [varints(2 ** 32 - 2)] }, 'feffffff'],
    ['int32', [2], { int32_data: [varints(-2, 5)] }, 'feffffff05000000'],
    ['int16', [2], { int32_data: [varints(-2, 5)] }, 'feff0500'],
    ['uint16', [1], { int32_data: [varints(65535)] }, 'ffff'],
    ['int8', [2], { int32_data: [varints(-2, 5)] }, 'fe05'],
    ['bool', [2], { int32_data: [varints(1, 0)] }, '0100'],
    ['float16', [1], { int32_data: [varints(0x3c00)] }, '003c'],
    ['bfloat16', [1], { int32_data: [varints(0x3f80)] }, '803f'],
    ['float8e4m3fn', [2], { int32_data: [varints(0x38, 0xb8)] }, '38b8'],
    ['uint4', [3], { int32_data: [varints(0x21, 0x03)] }, '2103'],
    ['int4', [2], { int32_data: [varints(0xf1)] }, 'f1'],
    ['float4e2m1', [1], { int32_data: [varints(0x05)] }, '05'],
    ['int2', [5], { int32_data: [varints(0xe4, 0x01)] }, 'e401'],
    ['uint8', [0], {}, ''],
    ['uint8', [2], { raw_data: Uint8Array.of(1, 2) }, '0102'],
  ])('%s of shape [%j] from its field', (type, dims, rest, expected) => {
    expect(hex(message(type, dims, rest))).toBe(expected)
  })

  test.each<[string, TensorMessage]>([
    ['too few raw bytes', message('float32', [2], { raw_data: new Uint8Array(7) })],
    ['too many raw bytes', message('uint4', [3], { raw_data: new Uint8Array(3) })],
    ['too few numbers', message('int64', [2], { int64_data: [varints(1)] })],
    ['no numbers', message('float32', [2], {})],
    ['a cut number', message('int64', [1], { int64_data: [Uint8Array.of(128)] })],
    ['half a float', message('float32', [1], { float_data: [new Uint8Array(3)] })],
    ['a negative size', message('uint8', [-1], { raw_data: new Uint8Array(1) })],
    ['an overflow', message('uint8', [2 ** 40, 2 ** 40], { raw_data: new Uint8Array(1) })],
    ['sizes that wrap to 0', message('uint8', [2 ** 32, 2 ** 32], {})],
    ['too few strings', message('string', [2], { string_data: [Uint8Array.of(65)] })],
  ])('refuses %s', (_, tensor) => {
    expect(() => tensorFromMessage(tensor).bytes()).toThrow(
      expect.objectContaining({ code: 'TENSOR_SIZE_MISMATCH', name: 'AttncError' }),
    )
  })

  test('an empty tensor has no field with elements at all', () => {
    // dims 0 and 4, float32, and nothing else: filled caches of no length, as exporters write them.
    const empty = tensorFromMessage(decodeTensor(Uint8Array.of(8, 0, 8, 4, 16, 1)))
    expect([empty.dims, empty.byteLength, empty.bytes().length]).toEqual([[0, 4], 0, 0])
  })

  test('refuses an element type of a later format', () => {
    expect(() => tensorFromMessage({ name: 't', data_type: 27 })).toThrow(AttncError)
  })

  test('gives views that typed arrays may start at', () => {
    const buffer = new Uint8Array(9)
    const tensor = tensorFromMessage(message('float32', [2], { raw_data: buffer.subarray(1) }))
    expect(tensor.bytes().byteOffset % 8).toBe(0)
  })
})

describe('sparse tensors', () => {
  const indices = (dims: number[], ...values: number[]): TensorMessage =>
    message('int64', dims, { int64_data: [varints(...values)] })

  test.each([
    ['linear indices', indices([2], 1, 5)],
    ['coordinates', indices([2, 2], 0, 1, 1, 2)],
  ])('become dense from %s', (_, positions) => {
    const tensor = sparseTensorFromMessage({
      values: tensorMessage('s', [2], [4, 5]),
      indices: positions,
      dims: [2n, 3n],
    })
    expect([...new Float32Array(tensor.bytes().buffer)]).toEqual([0, 4, 0, 0, 0, 5])
  })

  test('refuse a position outside', () => {
    const tensor = sparseTensorFromMessage({
      values: tensorMessage('s', [1], [4]),
      indices: indices([1], 6),
      dims: [2n, 3n],
    })
    expect(() => tensor.bytes()).toThrow('position 6 of 6')
  })
})

test('numbers become integers of 64 bits as BigInt makes them, and what is no number none', () => {
  fc.assert(
    fc.property(
      fc.array(fc.oneof(fc.double({ noNaN: true, min: -1e19, max: 1e19 }), fc.integer())),
      (values) => {
        const whole = values.map((value) => BigInt(Math.trunc(value)))
        expect(tensorOf('int64', [values.length], values).data).toEqual(BigInt64Array.from(whole))
        expect(tensorOf('uint64', [values.length], values).data).toEqual(BigUint64Array.from(whole))
      },
    ),
  )
  for (const value of [Number.NaN, Number.POSITIVE_INFINITY])
    expect(() => tensorOf('int64', [1], [value])).toThrow(RangeError)
})
