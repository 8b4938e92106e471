/**
 * protobufjs' reader and writer, made lossless and frugal: 64-bit integers are bigints, byte fields are
 * views, text that is not UTF-8 survives (each bad byte becomes a lone surrogate U+DC80–U+DCFF and back),
 * and bytes that lie in a file are written as holes, to be filled while the result is streamed.
 */
import protobuf from 'protobufjs/light.js'
import type { ByteSource } from './messages.js'

const continuation = 0x80n

export class OnnxReader extends protobuf.Reader {
  override discardUnknown = false
  private readonly text: Buffer

  constructor(bytes: Uint8Array) {
    super(bytes)
    this.text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  }

  // The return types are protobufjs' (a Long); what comes back is a bigint, as messages.ts says.
  override int64(): never {
    return BigInt.asIntN(64, this.varint()) as never
  }

  override uint64(): never {
    return BigInt.asUintN(64, this.varint()) as never
  }

  override string(): string {
    const length = this.size()
    const start = this.pos
    this.skip(length)
    const text = this.text.toString('utf8', start, this.pos)
    return text.includes('\ufffd') ? decodeLossless(this.buf.subarray(start, this.pos)) : text
  }

  private varint(): bigint {
    // Seven bits a byte; numbers up to 2^28 without bigint arithmetic.
    let low = 0
    for (let shift = 0; shift < 28; shift += 7) {
      const byte = this.byte()
      low |= (byte & 127) << shift
      if (byte < 128) return BigInt(low)
    }
    let value = BigInt(low)
    for (let shift = 28n; shift < 70n; shift += 7n) {
      const byte = this.byte()
      value |= BigInt(byte & 127) << shift
      if (byte < 128) return value
    }
    throw new RangeError('a varint is longer than ten bytes')
  }

  private byte(): number {
    if (this.pos >= this.len) throw new RangeError('index out of range')
    return this.buf[this.pos++] as number
  }
}

/** A piece of the encoded message: bytes, or a range to be copied from where it lies. */
export type EncodedPiece = Uint8Array | ByteSource

/** Byte fields from this size on are not copied into the buffer. */
const holeBytes = 16 * 1024

export class OnnxWriter extends protobuf.Writer {
  /** In the order of `at`, which is a position in the buffer. */
  private readonly holes: { at: number; readonly content: EncodedPiece }[] = []
  private holeTotal = 0
  private readonly forks: { readonly at: number; readonly holeTotal: number }[] = []

  override int64(value: unknown): this {
    if ((value as bigint) >= 0 && (value as bigint) <= 0x7fffffff) {
      this.uint32(Number(value))
      return this
    }
    let rest = BigInt.asUintN(64, BigInt(value as bigint | number))
    const bytes: number[] = []
    while (rest >= continuation) {
      bytes.push(Number(rest & 127n) | 128)
      rest >>= 7n
    }
    bytes.push(Number(rest))
    this.raw(Uint8Array.from(bytes))
    return this
  }

  override uint64(value: unknown): this {
    return this.int64(value)
  }

  override string(value: string): this {
    if (/\p{Surrogate}/u.test(value)) this.bytes(encodeLossless(value))
    else super.string(value)
    return this
  }

  override bytes(value: Uint8Array | string | ByteSource): this {
    const length = (value as ByteSource).byteLength
    if (value instanceof Uint8Array && length < holeBytes) {
      super.bytes(value)
      return this
    }
    this.uint32(length)
    this.holes.push({ at: this.pos, content: value as EncodedPiece })
    this.holeTotal += length
    return this
  }

  override fork(): this {
    this.forks.push({ at: this.pos, holeTotal: this.holeTotal })
    return this
  }

  /** Puts the length before what was written since the fork; holes count with what they stand for. */
  override ldelim(): this {
    const fork = this.forks.pop()
    if (!fork) throw new RangeError('no fork to close')
    const inBuffer = this.pos - fork.at
    const length = inBuffer + this.holeTotal - fork.holeTotal
    const prefix: number[] = []
    let rest = length
    while (rest > 127) {
      prefix.push((rest % 128) | 128)
      rest = Math.floor(rest / 128)
    }
    prefix.push(rest)
    this.raw(Uint8Array.from(prefix)) // grows the buffer by what the prefix needs
    this.buf.copyWithin(fork.at + prefix.length, fork.at, fork.at + inBuffer)
    this.buf.set(prefix, fork.at)
    for (let index = this.holes.length - 1; index >= 0; index--) {
      const hole = this.holes[index] as { at: number }
      if (hole.at < fork.at) break
      hole.at += prefix.length
    }
    return this
  }

  /** Bytes of the whole message. */
  get byteLength(): number {
    return this.pos + this.holeTotal
  }

  /** The message in order; pieces are views of the writer's buffer. */
  *pieces(): IterableIterator<EncodedPiece> {
    let from = 0
    for (const { at, content } of this.holes) {
      if (at > from) yield this.buf.subarray(from, at)
      yield content
      from = at
    }
    if (this.pos > from) yield this.buf.subarray(from, this.pos)
  }
}

const strictText = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

function decodeLossless(bytes: Uint8Array): string {
  let text = ''
  let at = 0
  while (at < bytes.length) {
    const length = sequenceLength(bytes, at)
    if (length > 0) text += strictText.decode(bytes.subarray(at, at + length))
    else text += String.fromCharCode(0xdc00 | (bytes[at] as number))
    at += Math.max(1, length)
  }
  return text
}

/** Bytes of the well-formed UTF-8 character at `at`, or 0. */
function sequenceLength(bytes: Uint8Array, at: number): number {
  const lead = bytes[at] as number
  const length = lead < 0x80 ? 1 : lead < 0xc2 ? 0 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4
  if (length <= 1) return length
  try {
    strictText.decode(bytes.subarray(at, at + length))
    return at + length <= bytes.length ? length : 0
  } catch {
    return 0
  }
}

function encodeLossless(text: string): Uint8Array {
  const parts: Buffer[] = []
  for (const character of text) {
    const code = character.codePointAt(0) as number
    parts.push(
      code >= 0xdc80 && code <= 0xdcff ? Buffer.of(code & 0xff) : Buffer.from(character, 'utf8'),
    )
  }
  return Buffer.concat(parts)
}
