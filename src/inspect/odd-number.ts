/** Telling a single number that was learned from one that somebody wrote down. */

interface Precision {
  /** Digits that people write, of the number and of its square. */
  readonly digits: readonly [number, number]
  readonly tolerance: number
  /** Bits of a mantissa that are zero in sums of few powers of two. */
  readonly zeros: number
  /** Whole numbers up to here are told from others. */
  readonly most: number
}

const fullPrecision: Precision = { digits: [5, 3], tolerance: 1e-6, zeros: 13, most: 1e5 }
/** Of ten bits, few are left to tell by. */
const halfPrecision: Precision = { digits: [2, 1], tolerance: 5e-4, zeros: 18, most: 100 }

/** Whether a number looks like one that nobody would write down: no root, logarithm or fraction. */
export function isOdd(value: number, half = false): boolean {
  const { digits, tolerance, zeros, most } = half ? halfPrecision : fullPrecision
  const size = Math.abs(value)
  if (!Number.isFinite(value) || size === 0 || size > 1e6 || size < 1e-6) return false
  const isShortBy = (number: number, count: number): boolean =>
    Math.abs(Number(number.toPrecision(count)) / number - 1) < (half ? tolerance : tolerance / 10)
  const isShort = isShortBy(size, digits[0]) || isShortBy(size ** 2, digits[1])
  const bits = Math.round((size / 2 ** Math.floor(Math.log2(size))) * 2 ** 23)
  const isBinary = bits % 2 ** zeros === 0
  const forms = [size ** 2, 1 / size ** 2, size ** 4, 1 / size ** 4, Math.exp(size), 1 / size]
  const isWhole = (each: number): boolean =>
    each > 0.5 && each < most && Math.abs(each / Math.round(each) - 1) < tolerance
  const isKnown = [Math.sqrt(2 / Math.PI), Math.PI, Math.E, Math.LOG2E].some(
    (each) => Math.abs(size / each - 1) < tolerance,
  )
  return !isShort && !isBinary && !isKnown && !forms.some(isWhole)
}
