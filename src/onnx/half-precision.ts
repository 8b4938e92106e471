/**
 * The two 16-bit floats, one number or many. JavaScript has neither: bits go through a float32, whose
 * memory is shared by all calls, for weights come by the hundred million.
 */
const single = new Float32Array(1)
const bitsOfSingle = new Uint32Array(single.buffer)

/** Numbers from the half of it on are 32 apart. */
export const largestHalf = 65504

/** Half precision bits → number. */
export function fromHalf(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1
  const exponent = (bits >> 10) & 0x1f
  const fraction = bits & 0x3ff
  if (exponent === 0) return sign * fraction * 2 ** -24
  if (exponent === 31) return fraction ? Number.NaN : sign * Number.POSITIVE_INFINITY
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15)
}

/** Number → half precision bits, ties to even. */
export function toHalf(value: number): number {
  single[0] = value
  const bits = bitsOfSingle[0] as number
  const sign = (bits >>> 16) & 0x8000
  const magnitude = bits & 0x7fffffff
  if (magnitude >= 0x7f800000) return sign | (magnitude > 0x7f800000 ? 0x7e00 : 0x7c00)
  if (magnitude >= 0x477ff000) return sign | 0x7c00
  if (magnitude < 0x38800000) {
    const scaled = Math.abs(value) * 2 ** 24
    const floor = Math.floor(scaled)
    const rest = scaled - floor
    const up = rest > 0.5 || (rest === 0.5 && floor % 2 === 1)
    return sign | (up ? floor + 1 : floor)
  }
  const rounded = magnitude + 0xfff + ((magnitude >> 13) & 1)
  return sign | ((rounded - 0x38000000) >>> 13)
}

/** bfloat16 bits → number: the upper half of a float32. */
export function fromBrain(bits: number): number {
  bitsOfSingle[0] = bits << 16
  return single[0] as number
}

/** Number → bfloat16 bits, ties to even. */
export function toBrain(value: number): number {
  single[0] = value
  const bits = bitsOfSingle[0] as number
  if (Number.isNaN(value)) return (bits >>> 16) | 0x40
  return ((bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16) & 0xffff
}

/** Bits of many. */
export function pack(values: ArrayLike<number>, one: (value: number) => number): Uint16Array {
  const packed = new Uint16Array(values.length)
  for (let i = 0; i < packed.length; i++) packed[i] = one(values[i] as number)
  return packed
}

let halves: Float32Array | undefined

/** Numbers of many half precision bits, by a table of all of them. */
export function unpackHalves(bits: Uint16Array): Float32Array {
  halves ??= Float32Array.from({ length: 1 << 16 }, (_, each) => fromHalf(each))
  const numbers = new Float32Array(bits.length)
  for (let i = 0; i < numbers.length; i++) numbers[i] = halves[bits[i] as number] as number
  return numbers
}

export function unpackBrains(bits: Uint16Array): Float32Array {
  const words = new Uint32Array(bits.length)
  for (let i = 0; i < words.length; i++) words[i] = (bits[i] as number) << 16
  return new Float32Array(words.buffer)
}
