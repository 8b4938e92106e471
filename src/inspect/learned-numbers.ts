/**
 * Telling learned numbers from computed ones by the numbers themselves: fills, masks, progressions,
 * sines and cosines come from a formula; a table that an exporter has already looked up holds its
 * rows several times. Large tensors are judged by their first numbers.
 */
import { fromConstant, numbersOf } from '../onnx/numbers.js'
import { elementCount, readTensor, type Tensor, tensorFromBytes } from '../onnx/tensor.js'
import { isOdd } from './odd-number.js'

/** Numbers that are looked at. */
const LIMIT = 1 << 14

/** Of single precision; half precision has three digits. */
const TOLERANCE = 1e-4
const HALF_TOLERANCE = 2e-3

const isHalf = ({ dataType }: Tensor): boolean => dataType === 'float16'

const toleranceOf = (tensor: Tensor): number => (isHalf(tensor) ? HALF_TOLERANCE : TOLERANCE)

export interface Sample {
  readonly tensor: Tensor
  /** The first numbers, in order. */
  readonly numbers: ArrayLike<number>
  /** Whether `numbers` are all there are. */
  readonly isWhole: boolean
}

/** The first numbers of a floating tensor; undefined for types that don't hold plain numbers. */
export function sampleOf(tensor: Tensor, limit = LIMIT): Sample | undefined {
  if (!['float32', 'float64', 'float16'].includes(tensor.dataType)) return undefined
  const count = elementCount(tensor.dims)
  const wanted = Math.min(count, limit)
  if (wanted === 0) return undefined
  const bytes = new Uint8Array((tensor.byteLength / count) * wanted)
  readTensor(tensor, 0, bytes)
  const read = fromConstant(tensorFromBytes(tensor.dataType, [wanted], bytes))
  return read && { tensor, numbers: numbersOf(read), isWhole: wanted === count }
}

/** Whether a formula of positions made the numbers. */
export function isFormula(tensor: Tensor): boolean {
  const width = tensor.dims.at(-1) ?? 1
  const tolerance = toleranceOf(tensor)
  const holds = ({ numbers }: Sample): boolean =>
    numbers.length > 1 &&
    (isFill(numbers) ||
      isMask(numbers) ||
      (numbers.length <= 16 && isWritten(numbers, isHalf(tensor))) ||
      isProgression(numbers, width, tolerance) ||
      isSinusoid(numbers, width, tolerance))
  // A glance at two rows tells most tensors.
  const glance = sampleOf(tensor, Math.min(LIMIT, Math.max(64, 3 * width)))
  if (!glance || !holds(glance)) return false
  const sample = glance.isWhole ? glance : sampleOf(tensor)
  return sample !== undefined && holds(sample)
}

function every(numbers: ArrayLike<number>, test: (each: number, index: number) => boolean) {
  for (let i = 0; i < numbers.length; i++) if (!test(numbers[i] as number, i)) return false
  return true
}

/** One number everywhere: the gain of a norm without one, a bias that is not there. */
const isFill = (numbers: ArrayLike<number>): boolean =>
  every(numbers, (each) => each === numbers[0])

/** Two numbers, such as 0 and −∞, or 0 and 1. */
function isMask(numbers: ArrayLike<number>): boolean {
  if (numbers.length < 16) return false
  const one = numbers[0] as number
  let other = one
  return every(numbers, (each) => {
    if (other === one) other = each
    return each === one || each === other
  })
}

/** Numbers that people write: means and deviations of colours, for one. */
const isWritten = (numbers: ArrayLike<number>, half: boolean): boolean =>
  every(numbers, (each) => !isOdd(each, half))

const isNear = (a: number, b: number): boolean =>
  Math.abs(a - b) <= TOLERANCE * (Math.abs(a) + Math.abs(b))

/** Rows that grow by equal steps: positions, and positions times a slope. */
function isProgression(numbers: ArrayLike<number>, width: number, tolerance: number): boolean {
  if (width < 4) return false
  // Of a row that is longer than what was read, as much as there is.
  const length = Math.min(width, numbers.length)
  let longest = 0
  for (let row = 0; row + length <= numbers.length; row += length) {
    // What a mask hides says nothing of the rest.
    const open = Array.from({ length }, (_, i) => i).filter((i) => !isHidden(at(numbers, row + i)))
    const [first = 0, second = 1] = open
    longest = Math.max(longest, open.length)
    const start = at(numbers, row + first)
    const step = (at(numbers, row + second) - start) / (second - first)
    const scale = Math.abs(start) + Math.abs(step) * width
    for (const i of open.slice(1)) {
      const expected = start + step * (i - first)
      if (!(Math.abs(at(numbers, row + i) - expected) <= tolerance * scale)) return false
    }
  }
  return longest > 3
}

const isHidden = (number: number): boolean => number < -1e30

/** Equal ratios from one number to the next, in one run or two: frequencies, slopes. */
export function isGeometric(tensor: Tensor): boolean {
  const { numbers } = sampleOf(tensor, 4096) ?? {}
  if (!numbers || numbers.length < 2) return false
  const tolerance = toleranceOf(tensor)
  // Two numbers always have a ratio: it tells something where they look written.
  if (numbers.length === 2) return isWritten(numbers, isHalf(tensor))
  let breaks = 0
  let ratio = at(numbers, 1) / at(numbers, 0)
  for (let i = 2; i < numbers.length; i++) {
    const next = at(numbers, i) / at(numbers, i - 1)
    if (Math.abs(next / ratio - 1) <= tolerance) continue
    if (++breaks > 2) return false
    ratio = next
  }
  return breaks === 0 || numbers.length > 5
}

/** Sines and cosines of the same angles in one row, next to each other or a part of the row apart. */
function isSinusoid(numbers: ArrayLike<number>, width: number, tolerance: number): boolean {
  if (width < 2 || numbers.length < 2 * width) return false
  const distances = [1, width / 2, width / 4].filter((each) => Number.isInteger(each) && each > 0)
  return distances.some((distance) => isSinusoidAt(numbers, width, distance, tolerance))
}

function isSinusoidAt(
  numbers: ArrayLike<number>,
  width: number,
  distance: number,
  tolerance: number,
): boolean {
  let radius: number | undefined
  for (let row = 0; row + width <= numbers.length; row += width) {
    // The row of a padding token is zero.
    if (isZero(numbers, row, width)) continue
    for (let i = row; i + distance < row + width; i++) {
      if (Math.floor((i - row) / distance) % 2 === 1) continue
      const square = at(numbers, i) ** 2 + at(numbers, i + distance) ** 2
      radius ??= square
      if (!(Math.abs(square - radius) <= tolerance * radius)) return false
    }
  }
  return radius !== undefined && radius > 0
}

function isZero(numbers: ArrayLike<number>, from: number, count: number): boolean {
  for (let i = from; i < from + count; i++) if (numbers[i] !== 0) return false
  return true
}

/** Tables among these of one shape that hold the cosines and the sines of the same angles, perhaps scaled. */
export function findAngles(tensors: readonly Tensor[]): Tensor[] {
  const glances = tensors.map((tensor) => ({ tensor, sample: sampleOf(tensor, 16) }))
  return glances.flatMap(({ tensor, sample }, index) =>
    glances.flatMap((other, at) => {
      if (index === at || !areOnCircle(sample, other.sample)) return []
      return areOnCircle(sampleOf(tensor, 4096), sampleOf(other.tensor, 4096)) ? [tensor] : []
    }),
  )
}

function areOnCircle(one: Sample | undefined, other: Sample | undefined): boolean {
  const [a, b] = [one?.numbers, other?.numbers]
  if (!a || !b || a.length < 8) return false
  const tolerance = one ? toleranceOf(one.tensor) : TOLERANCE
  const radius = at(a, 0) ** 2 + at(b, 0) ** 2
  return every(a, (each, index) => {
    const square = each ** 2 + at(b, index) ** 2
    return Math.abs(square - radius) <= tolerance * radius
  })
}

const at = (numbers: ArrayLike<number>, index: number): number => numbers[index] as number

/**
 * How many numbers a table was made from that an exporter has worked out beforehand: each of them
 * several times (rows looked up), or few columns that all others are mixed from (a product folded).
 */
export function sourceNumbers(tensor: Tensor): number | undefined {
  const sample = sampleOf(tensor, 1 << 20)
  const width = tensor.dims.at(-1) ?? 1
  if (!sample?.isWhole || sample.numbers.length < 16) return undefined
  const different = [...new Set(Array.from(sample.numbers))]
  if (different.length * 2 <= sample.numbers.length)
    return isMirrored(different) ? 0 : different.length
  const rows = sample.numbers.length / width
  const rank = rankOf(sample.numbers, width, Math.min(4, rows / 4, width / 4))
  return rank && rank * width
}

/** Every number with its opposite: coordinates around a middle, which nobody learned. */
function isMirrored(numbers: readonly number[]): boolean {
  const sorted = numbers.toSorted((a, b) => a - b)
  return (
    sorted.length > 4 && sorted.every((each, index) => isNear(-each, sorted.at(-1 - index) ?? 0))
  )
}

/** Rank of a matrix where it is at most `limit`, by orthogonalising row after row. */
function rankOf(numbers: ArrayLike<number>, width: number, limit: number): number | undefined {
  const basis: number[][] = []
  for (let from = 0; from < numbers.length; from += width) {
    const row = Array.from({ length: width }, (_, i) => at(numbers, from + i))
    const length = Math.hypot(...row)
    for (const each of basis) {
      const dot = row.reduce((sum, value, i) => sum + value * at(each, i), 0)
      for (let i = 0; i < width; i++) row[i] = at(row, i) - dot * at(each, i)
    }
    const left = Math.hypot(...row)
    if (left <= TOLERANCE * length) continue
    if (basis.length + 1 > limit) return undefined
    basis.push(row.map((each) => each / left))
  }
  return basis.length
}

/** Numbers of a vector without the third (or so) that is exactly zero: biases laid end to end. */
export function presentNumbers(tensor: Tensor): number {
  const { numbers, isWhole } = sampleOf(tensor) ?? {}
  const count = elementCount(tensor.dims)
  if (!numbers || !isWhole) return count
  let zeros = 0
  for (let i = 0; i < numbers.length; i++) if (numbers[i] === 0) zeros++
  return zeros * 4 >= count ? count - zeros : count
}
