/**
 * Zip archives as NumPy writes them: entries stored or deflated, over 4 GiB too (zip64), read one by one
 * from the file. Written without compression or times, so that the same content has the same bytes.
 * The format: PKWARE's APPNOTE.TXT 6.3, whose section numbers stand below.
 */
import { closeSync, fstatSync, openSync, readSync } from 'node:fs'
import { crc32, inflateRawSync } from 'node:zlib'

export interface ZipEntry {
  readonly name: string
  /** Bytes of the content. */
  readonly size: number
  /** Errors (plain ones, for the caller to explain): damage, encryption, unknown compression. */
  read(): Uint8Array
}

const LOCAL = 0x04034b50
const CENTRAL = 0x02014b50
const END = 0x06054b50
const END_64 = 0x06064b50
const LOCATOR_64 = 0x07064b50
const LIMIT = 0xffffffff
const LIMIT_16 = 0xffff

/** Calls `use` with the entries of an archive; they can be read until it returns. */
export function withZip<Result>(path: string, use: (entries: ZipEntry[]) => Result): Result {
  const file = openSync(path, 'r')
  try {
    return use(readDirectory(file))
  } finally {
    closeSync(file)
  }
}

function readDirectory(file: number): ZipEntry[] {
  const { size } = fstatSync(file)
  // §4.3.16: the end record stands last, before a comment of at most 64 KiB.
  const tailAt = Math.max(0, size - 22 - LIMIT_16)
  const tail = readAt(file, tailAt, size - tailAt)
  const end = tail.lastIndexOf(Uint8Array.of(0x50, 0x4b, 5, 6))
  if (end < 0 || tail.length < end + 22) throw new Error('it has no zip directory, or is cut short')
  let count = tail.readUInt16LE(end + 10)
  let length = tail.readUInt32LE(end + 12)
  let start = tail.readUInt32LE(end + 16)
  if (end >= 20 && tail.readUInt32LE(end - 20) === LOCATOR_64) {
    const record = readAt(file, Number(tail.readBigUInt64LE(end - 12)), 56)
    if (record.readUInt32LE(0) !== END_64) throw new Error('its zip64 directory is damaged')
    count = Number(record.readBigUInt64LE(32))
    length = Number(record.readBigUInt64LE(40))
    start = Number(record.readBigUInt64LE(48))
  }
  if (start + length > size) throw new Error('its zip directory lies outside of it')
  const directory = readAt(file, start, length)
  const entries: ZipEntry[] = []
  for (let at = 0; entries.length < count; ) {
    if (at + 46 > length || directory.readUInt32LE(at) !== CENTRAL)
      throw new Error('its zip directory is damaged')
    const nameEnd = at + 46 + directory.readUInt16LE(at + 28)
    const extraEnd = nameEnd + directory.readUInt16LE(at + 30)
    entries.push(
      readEntry(file, directory.subarray(at, nameEnd), directory.subarray(nameEnd, extraEnd)),
    )
    at = extraEnd + directory.readUInt16LE(at + 32)
  }
  return entries
}

function readEntry(file: number, header: Buffer, extra: Buffer): ZipEntry {
  const name = header.toString('utf8', 46)
  const isEncrypted = (header.readUInt16LE(8) & 1) !== 0
  const method = header.readUInt16LE(10)
  const checksum = header.readUInt32LE(16)
  const [size, stored, offset] = longSizes(
    [header.readUInt32LE(24), header.readUInt32LE(20), header.readUInt32LE(42)],
    extra,
  )
  const read = (): Uint8Array => {
    if (isEncrypted) throw new Error(`"${name}" is encrypted`)
    const local = readAt(file, offset, 30)
    if (local.readUInt32LE(0) !== LOCAL) throw new Error(`"${name}" is damaged`)
    const from = offset + 30 + local.readUInt16LE(26) + local.readUInt16LE(28)
    const bytes = readAt(file, from, stored)
    const content = method === 0 ? bytes : inflate(name, method, bytes, size)
    if (content.length !== size || crc32(content) !== checksum)
      throw new Error(`"${name}" is damaged: its checksum differs`)
    return content
  }
  return { name, size, read }
}

/** §4.5.3: sizes of 4 GiB and more stand in an extra field, only those that don't fit, in this order. */
function longSizes(sizes: [number, number, number], extra: Buffer): [number, number, number] {
  for (let at = 0; at + 4 <= extra.length; at += 4 + extra.readUInt16LE(at + 2)) {
    if (extra.readUInt16LE(at) !== 1) continue
    let from = at + 4
    for (const [index, size] of sizes.entries()) {
      if (size !== LIMIT) continue
      sizes[index] = Number(extra.readBigUInt64LE(from))
      from += 8
    }
  }
  return sizes
}

function inflate(name: string, method: number, bytes: Buffer, size: number): Buffer {
  if (method !== 8) throw new Error(`"${name}" is compressed by method ${method}; 0 and 8 are read`)
  return inflateRawSync(bytes, { maxOutputLength: Math.max(size, 1) })
}

/** Exactly these bytes, in a buffer of their own. */
function readAt(file: number, from: number, length: number): Buffer {
  const { size } = fstatSync(file)
  if (from < 0 || from + length > size) throw new Error('it is cut short')
  const bytes = Buffer.from(new ArrayBuffer(length))
  // One call reads less than 2 GiB.
  for (let done = 0; done < length; )
    done += readSync(file, bytes, done, Math.min(length - done, 1 << 30), from + done)
  return bytes
}

/** A file to be: its content in parts. */
export interface ZipSource {
  readonly name: string
  readonly parts: readonly Uint8Array[]
}

/** The bytes of an archive, part by part; contents are passed on, not copied. */
export function* zipParts(sources: Iterable<ZipSource>): Generator<Uint8Array> {
  const directory: Buffer[] = []
  let offset = 0
  for (const { name, parts } of sources) {
    const size = parts.reduce((sum, { length }) => sum + length, 0)
    // Of no bytes, crc32 forgets the sum so far.
    const checksum = parts.reduce((sum, part) => (part.length > 0 ? crc32(part, sum) : sum), 0)
    const local = localHeader(name, size, checksum)
    directory.push(centralHeader(name, size, checksum, offset))
    yield local
    yield* parts
    offset += local.length + size
  }
  const central = Buffer.concat(directory)
  yield central
  yield endRecords(directory.length, central.length, offset)
}

/** 1 January 1980, midnight: zip's zero. */
const DATE = 0x21
const version = (isLong: boolean): number => (isLong ? 45 : 20)

/** §4.3.7 */
function localHeader(name: string, size: number, checksum: number): Buffer {
  const isLong = size >= LIMIT
  const nameBytes = Buffer.from(name)
  const header = Buffer.alloc(30)
  header.writeUInt32LE(LOCAL, 0)
  header.writeUInt16LE(version(isLong), 4)
  header.writeUInt16LE(DATE, 12)
  header.writeUInt32LE(checksum, 14)
  header.writeUInt32LE(isLong ? LIMIT : size, 18)
  header.writeUInt32LE(isLong ? LIMIT : size, 22)
  header.writeUInt16LE(nameBytes.length, 26)
  const extra = isLong ? longExtra([size, size]) : Buffer.alloc(0)
  header.writeUInt16LE(extra.length, 28)
  return Buffer.concat([header, nameBytes, extra])
}

/** §4.3.12 */
function centralHeader(name: string, size: number, checksum: number, offset: number): Buffer {
  const long = [size, size, offset].filter((each) => each >= LIMIT)
  const extra = long.length > 0 ? longExtra(long) : Buffer.alloc(0)
  const nameBytes = Buffer.from(name)
  const header = Buffer.alloc(46)
  header.writeUInt32LE(CENTRAL, 0)
  header.writeUInt16LE(version(long.length > 0), 4)
  header.writeUInt16LE(version(long.length > 0), 6)
  header.writeUInt16LE(DATE, 14)
  header.writeUInt32LE(checksum, 16)
  header.writeUInt32LE(Math.min(size, LIMIT), 20)
  header.writeUInt32LE(Math.min(size, LIMIT), 24)
  header.writeUInt16LE(nameBytes.length, 28)
  header.writeUInt16LE(extra.length, 30)
  header.writeUInt32LE(Math.min(offset, LIMIT), 42)
  return Buffer.concat([header, nameBytes, extra])
}

function longExtra(sizes: readonly number[]): Buffer {
  const extra = Buffer.alloc(4 + 8 * sizes.length)
  extra.writeUInt16LE(1, 0)
  extra.writeUInt16LE(8 * sizes.length, 2)
  for (const [index, size] of sizes.entries()) extra.writeBigUInt64LE(BigInt(size), 4 + 8 * index)
  return extra
}

/** §4.3.14 to §4.3.16 */
function endRecords(count: number, length: number, offset: number): Buffer {
  const end = Buffer.alloc(22)
  end.writeUInt32LE(END, 0)
  end.writeUInt16LE(Math.min(count, LIMIT_16), 8)
  end.writeUInt16LE(Math.min(count, LIMIT_16), 10)
  end.writeUInt32LE(Math.min(length, LIMIT), 12)
  end.writeUInt32LE(Math.min(offset, LIMIT), 16)
  if (count < LIMIT_16 && length < LIMIT && offset < LIMIT) return end
  const long = Buffer.alloc(56 + 20)
  long.writeUInt32LE(END_64, 0)
  long.writeBigUInt64LE(44n, 4)
  long.writeUInt16LE(45, 12)
  long.writeUInt16LE(45, 14)
  long.writeBigUInt64LE(BigInt(count), 24)
  long.writeBigUInt64LE(BigInt(count), 32)
  long.writeBigUInt64LE(BigInt(length), 40)
  long.writeBigUInt64LE(BigInt(offset), 48)
  long.writeUInt32LE(LOCATOR_64, 56)
  long.writeBigUInt64LE(BigInt(offset + length), 64)
  long.writeUInt32LE(1, 72)
  return Buffer.concat([long, end])
}
