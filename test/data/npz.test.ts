import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { crc32, deflateRawSync } from 'node:zlib'
import fc from 'fast-check'
import { afterAll, describe, expect, test } from 'vitest'
import { readArrays, writeArrays } from '../../src/data/npz.js'
import type { DataType } from '../../src/onnx/data-type.js'
import { tensorOf } from '../../src/onnx/numbers.js'

const folder = mkdtempSync(join(tmpdir(), 'attnc-test-'))
afterAll(() => rmSync(folder, { recursive: true }))

function save(name: string, bytes: Uint8Array): string {
  const path = join(folder, name)
  writeFileSync(path, bytes)
  return path
}

/** A .npy as NumPy lays it out. */
function npy(
  descr: string,
  shape: string,
  numbers: Uint8Array,
  { fortran = false, major = 1 } = {},
): Buffer {
  const order = fortran ? 'True' : 'False'
  const header = `{'descr': ${descr}, 'fortran_order': ${order}, 'shape': ${shape}, }\n`
  const head = Buffer.alloc(major === 1 ? 10 : 12)
  head.set([0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59, major, 0])
  if (major === 1) head.writeUInt16LE(header.length, 8)
  else head.writeUInt32LE(header.length, 8)
  return Buffer.concat([head, Buffer.from(header), numbers])
}

/** A zip of one entry; with `isLong`, sizes stand where zip64 keeps them. */
function zip(name: string, content: Uint8Array, { deflate = false, isLong = false }): Buffer {
  const stored = deflate ? deflateRawSync(content) : Buffer.from(content)
  const extra = Buffer.alloc(isLong ? 28 : 0)
  if (isLong) {
    extra.writeUInt16LE(1, 0)
    extra.writeUInt16LE(24, 2)
    extra.writeBigUInt64LE(BigInt(content.length), 4)
    extra.writeBigUInt64LE(BigInt(stored.length), 12)
  }
  const describeContent = (header: Buffer, at: number): void => {
    header.writeUInt16LE(deflate ? 8 : 0, at)
    header.writeUInt32LE(crc32(content), at + 6)
    header.writeUInt32LE(isLong ? 0xffffffff : stored.length, at + 10)
    header.writeUInt32LE(isLong ? 0xffffffff : content.length, at + 14)
    header.writeUInt16LE(name.length, at + 18)
  }
  const local = Buffer.alloc(30)
  local.writeUInt32LE(0x04034b50, 0)
  describeContent(local, 8)
  const central = Buffer.alloc(46)
  central.writeUInt32LE(0x02014b50, 0)
  describeContent(central, 10)
  central.writeUInt16LE(extra.length, 30)
  central.writeUInt32LE(isLong ? 0xffffffff : 0, 42)
  const body = Buffer.concat([local, Buffer.from(name), stored])
  const directory = Buffer.concat([central, Buffer.from(name), extra])
  const long = Buffer.alloc(isLong ? 76 : 0)
  if (isLong) {
    long.writeUInt32LE(0x06064b50, 0)
    long.writeBigUInt64LE(1n, 32)
    long.writeBigUInt64LE(BigInt(directory.length), 40)
    long.writeBigUInt64LE(BigInt(body.length), 48)
    long.writeUInt32LE(0x07064b50, 56)
    long.writeBigUInt64LE(BigInt(body.length + directory.length), 64)
  }
  const end = Buffer.alloc(22)
  end.writeUInt32LE(0x06054b50, 0)
  end.writeUInt16LE(isLong ? 0xffff : 1, 10)
  end.writeUInt32LE(isLong ? 0xffffffff : directory.length, 12)
  end.writeUInt32LE(isLong ? 0xffffffff : body.length, 16)
  return Buffer.concat([body, directory, long, end])
}

const types: [DataType, ArrayBufferView, string][] = [
  ['float32', Float32Array.of(1.5, -2, 3, 4, 5, 6), '<f4'],
  ['float64', Float64Array.of(1.5, -2, 3, 4, 5, 6), '<f8'],
  ['float16', Uint16Array.of(0x3c00, 0x4000, 0, 1, 2, 3), '<f2'],
  ['int8', Int8Array.of(-1, 2, 3, 4, 5, 6), '|i1'],
  ['uint8', Uint8Array.of(255, 2, 3, 4, 5, 6), '|u1'],
  ['bool', Uint8Array.of(1, 0, 1, 0, 1, 1), '|b1'],
  ['int16', Int16Array.of(-1, 2, 3, 4, 5, 6), '<i2'],
  ['uint16', Uint16Array.of(65535, 2, 3, 4, 5, 6), '<u2'],
  ['int32', Int32Array.of(-1, 2, 3, 4, 5, 6), '<i4'],
  ['uint32', Uint32Array.of(1, 2, 3, 4, 5, 6), '<u4'],
  ['int64', BigInt64Array.of(-1n, 2n, 3n, 4n, 5n, 2n ** 60n), '<i8'],
  ['uint64', BigUint64Array.of(1n, 2n, 3n, 4n, 5n, 2n ** 63n), '<u8'],
]
const bytesOf = (view: ArrayBufferView): Uint8Array =>
  new Uint8Array(view.buffer, view.byteOffset, view.byteLength)

describe.each(types)('%s', (dataType, data, descr) => {
  const expected = { dataType, dims: [2, 3], data }

  test.each([
    ['stored', {}],
    ['compressed', { deflate: true }],
    ['zip64', { isLong: true }],
  ])('is read from an .npz, %s', (_, options) => {
    const content = npy(`'${descr}'`, '(2, 3)', bytesOf(data))
    expect(readArrays(save('a.npz', zip('x.npy', content, options)))).toEqual({ x: expected })
  })

  test('is read big-endian, column by column, and as version 2', () => {
    const width = data.byteLength / 6
    const swapped = Uint8Array.from(bytesOf(data))
    for (let at = 0; at < swapped.length; at += width) swapped.subarray(at, at + width).reverse()
    const big = npy(`'${descr.replace('<', '>')}'`, '(2, 3)', swapped)
    expect(readArrays(save('big.npy', big))).toEqual({ big: expected })
    const columns = new Uint8Array(data.byteLength)
    for (let i = 0; i < 2; i++)
      for (let j = 0; j < 3; j++) {
        const at = (i * 3 + j) * width
        columns.set(bytesOf(data).subarray(at, at + width), (j * 2 + i) * width)
      }
    const fortran = npy(`'${descr}'`, '(2, 3)', columns, { fortran: true, major: 2 })
    expect(readArrays(save('columns.npy', fortran))).toEqual({ columns: expected })
  })
})

test('what is written is read, and the same numbers give the same bytes', () => {
  const numbers = fc.array(fc.float({ noNaN: true }))
  const property = fc.property(
    fc.dictionary(fc.stringMatching(/^[a-z.]{1,8}$/), numbers, { maxKeys: 5 }),
    (found) => {
      const arrays = Object.fromEntries(
        Object.entries(found).map(([name, all]) => [name, tensorOf('float32', [all.length], all)]),
      )
      const bytes = writeArrays(arrays)
      expect(Buffer.compare(writeArrays(arrays), bytes)).toBe(0)
      expect(readArrays(save('w.npz', bytes))).toEqual(arrays)
    },
  )
  fc.assert(property, { seed: 3, numRuns: 50 })
})

test('reads only the arrays that are wanted', () => {
  const arrays = { a: tensorOf('float32', [1], [1]), b: tensorOf('float32', [1], [2]) }
  const path = save('two.npz', writeArrays(arrays))
  expect(readArrays(path, (name) => name === 'b')).toEqual({ b: arrays.b })
})

const good = zip('x.npy', npy("'<f4'", '(2, 3)', new Uint8Array(24)), { deflate: true })
const flipped = Uint8Array.from(good)
flipped[50] = (flipped[50] as number) ^ 0xff

test.each([
  ['cut.npz', good.subarray(0, good.length - 30), /no zip directory, or is cut short/],
  ['beginning.npz', good.subarray(60), /"x.npy" is damaged|cut short|lies outside/],
  ['flipped.npz', flipped, /can't be read as an array/],
  ['empty.npz', new Uint8Array(), /no zip directory/],
  ['text.npz', Buffer.from('hello'.repeat(20)), /no zip directory/],
  ['text.npy', Buffer.from('hello'.repeat(20)), /does not begin as a .npy does/],
  ['pickled.npy', npy("'|O'", '(2,)', new Uint8Array(40)), /pickled Python objects/],
  ['complex.npy', npy("'<c8'", '(2,)', new Uint8Array(16)), /numbers of the types f2, f4/],
  ['strings.npy', npy("'<U5'", '(2,)', new Uint8Array(40)), /numbers of the types f2, f4/],
  ['records.npy', npy("[('a', '<f4')]", '(2,)', new Uint8Array(8)), /numbers of the types f2/],
  [
    'short.npy',
    npy("'<f4'", '(2, 3)', new Uint8Array(20)),
    /20 bytes of numbers; \[2,3\] needs 24/,
  ],
  ['huge.npy', npy("'<f4'", '(99999999, 99999999)', new Uint8Array(20)), /20 bytes of numbers/],
])('says what is wrong with %s', (name, bytes, message) => {
  const path = save(name, bytes)
  expect(() => readArrays(path)).toThrow(message)
  expect(() => readArrays(path)).toThrow(expect.objectContaining({ code: 'ARRAY_FORMAT' }))
})

test('says that a file is not there', () => {
  for (const name of ['absent.npz', 'absent.npy'])
    expect(() => readArrays(join(folder, name))).toThrow(
      expect.objectContaining({ code: 'FILE_UNREADABLE' }),
    )
})
