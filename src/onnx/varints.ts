/**
 * Packed varints, as tensors hold integers, to little-endian numbers of fixed width.
 * Negative 32-bit numbers come as ten bytes; their low bits are what counts.
 */
import { AttncError } from '../errors.js'

/** How many numbers a chunk holds: bytes that end one. */
export function countVarints(chunk: Uint8Array): number {
  let count = 0
  for (const byte of chunk) if (byte < 128) count++
  if (chunk.length > 0 && (chunk[chunk.length - 1] as number) >= 128) throw malformed()
  return count
}

/** `count` numbers of `width` bytes each: 1, 2, 4 or 8. */
export function packVarints(
  chunks: readonly Uint8Array[],
  count: number,
  width: number,
): Uint8Array {
  const bytes = new Uint8Array(count * width)
  const view = new DataView(bytes.buffer)
  let index = 0
  for (const chunk of chunks) {
    let at = 0
    while (at < chunk.length) {
      // 28 bits at a time stay exact in a number: low 28, middle 28, high 8.
      let low = 0
      let middle = 0
      let high = 0
      let shift = 0
      for (; ; shift += 7) {
        const byte = chunk[at++]
        if (byte === undefined || shift > 63) throw malformed()
        const part = byte & 127
        if (shift < 28) low |= part << shift
        else if (shift < 56) middle |= part << (shift - 28)
        else high |= part << (shift - 56)
        if (byte < 128) break
      }
      const word = (low | (middle << 28)) >>> 0
      const at32 = index * width
      if (width === 1) view.setUint8(at32, word & 0xff)
      else if (width === 2) view.setUint16(at32, word & 0xffff, true)
      else view.setUint32(at32, word, true)
      if (width === 8) view.setUint32(at32 + 4, ((middle >>> 4) | (high << 24)) >>> 0, true)
      index++
    }
  }
  return bytes
}

const malformed = (): AttncError =>
  new AttncError(
    'TENSOR_SIZE_MISMATCH',
    'model',
    'A tensor ends inside a number of its typed field, or holds one of more than ten bytes.',
    { suggestions: ['The file is damaged: export, copy or download it again.'] },
  )
