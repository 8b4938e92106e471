/**
 * Sums that don't depend on the order: floating-point addition isn't associative, so every number is cut
 * at fixed powers of two and the pieces are added as integers, exactly. Of the pieces, each element keeps
 * those of its two highest bins, 37 to 72 bits below the largest number it has met; what lies lower is
 * left out whatever the order. (The idea of binned summation: Demmel and Nguyen, "Parallel Reproducible
 * Summation", 2015.)
 */

/** Bits of a bin. A piece is an integer below 2^36, so that 2^17 of them add up exactly in a double. */
const BIN_BITS = 36
const BIN = 2 ** BIN_BITS
/** Additions that are exact for certain. */
export const EXACT_ADDITIONS = 2 ** (53 - BIN_BITS)
/** The bin of a sum to which nothing was added yet. */
const EMPTY = -128
/** Far below single precision's smallest number; less is nothing. */
const SMALLEST = 2 ** -(BIN_BITS * 10)

/** `length` sums; element i is high[i]·2^(36·bin[i]) + low[i]·2^(36·(bin[i] − 1)). */
export class ExactSums {
  constructor(
    readonly length: number,
    readonly high: Float64Array = new Float64Array(length),
    readonly low: Float64Array = new Float64Array(length),
    readonly bin: Int8Array = new Int8Array(length).fill(EMPTY),
  ) {}

  /** Adds a number of at most single precision's size to one sum. */
  add(index: number, value: number): void {
    if (value < SMALLEST && value > -SMALLEST) return
    let bin = this.bin[index] as number
    if (bin === EMPTY) bin = this.raise(index, binOf(value))
    let top = Math.trunc(value * scaleDown(bin))
    if (top >= BIN || top <= -BIN) {
      bin = this.raise(index, binOf(value))
      top = Math.trunc(value * scaleDown(bin))
    }
    const rest = value - top * scaleUp(bin)
    this.high[index] = (this.high[index] as number) + top
    this.low[index] = (this.low[index] as number) + Math.trunc(rest * scaleDown(bin - 1))
  }

  /**
   * Adds numbers `from`… to the sums `at`…; returns the place of the first that is not finite, or −1. What
   * `add` does, with its branches that are hardly ever taken out of the way.
   */
  addAll(numbers: Float32Array, from: number, count: number, at: number): number {
    const { high, low, bin } = this
    for (let i = 0; i < count; i++) {
      const value = numbers[from + i] as number
      const index = at + i
      const own = (bin[index] as number) - LOWEST
      const top = own < 0 ? Number.NaN : Math.trunc(value * (inverses[own] as number))
      if (top < BIN && top > -BIN) {
        const rest = value - top * (powers[own] as number)
        high[index] = (high[index] as number) + top
        low[index] = (low[index] as number) + Math.trunc(rest * (inverses[own - 1] as number))
      } else if (Number.isFinite(value)) this.add(index, value)
      else return from + i
    }
    return -1
  }

  /** Adds all sums of another: the same as adding all its numbers. */
  merge(other: ExactSums): void {
    for (let index = 0; index < this.length; index++) {
      const theirs = other.bin[index] as number
      if (theirs === EMPTY) continue
      const bin = this.raise(index, Math.max(theirs, this.bin[index] as number))
      const high = other.high[index] as number
      const low = other.low[index] as number
      if (theirs === bin) {
        this.high[index] = (this.high[index] as number) + high
        this.low[index] = (this.low[index] as number) + low
      } else if (theirs === bin - 1) this.low[index] = (this.low[index] as number) + high
    }
  }

  /** One sum, rounded once. */
  value(index: number): number {
    const bin = this.bin[index] as number
    if (bin === EMPTY) return 0
    return (
      (this.high[index] as number) * scaleUp(bin) + (this.low[index] as number) * scaleUp(bin - 1)
    )
  }

  values(): Float64Array {
    return Float64Array.from({ length: this.length }, (_, index) => this.value(index))
  }

  /** Makes `bin` the top one; pieces that fall out of the two highest are forgotten. */
  private raise(index: number, bin: number): number {
    const steps = bin - (this.bin[index] as number)
    if (steps > 0) {
      this.low[index] = steps === 1 ? (this.high[index] as number) : 0
      this.high[index] = 0
      this.bin[index] = bin
    }
    return bin
  }
}

const double = new Float64Array(1)
const words = new Uint32Array(double.buffer)
/** Which of a double's words holds its exponent. */
const upper = new Uint8Array(Uint16Array.of(1).buffer)[0] === 1 ? 1 : 0

/** The bin of a number's leading bit, by its exponent. */
function binOf(value: number): number {
  double[0] = value
  const exponent = (((words[upper] as number) >>> 20) & 0x7ff) - 1023
  return Math.floor(exponent / BIN_BITS)
}

/** 2^(36·bin) and its inverse for the bins of single precision and some more; exact. */
const LOWEST = -12
const HIGHEST = 12
const powers = Float64Array.from({ length: HIGHEST - LOWEST + 1 }, (_, i) => BIN ** (i + LOWEST))
const inverses = Float64Array.from({ length: HIGHEST - LOWEST + 1 }, (_, i) => BIN ** -(i + LOWEST))
const scaleUp = (bin: number): number => powers[bin - LOWEST] as number
const scaleDown = (bin: number): number => inverses[bin - LOWEST] as number
