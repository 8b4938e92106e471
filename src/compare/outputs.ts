/**
 * What two models say of the same inputs, output by output: how far the numbers are apart, whether the
 * largest of each row is the same, the angle between rows. Rows run along the last axis; rows of padding
 * don't count. Outputs whose shapes differ, as caches of pruned heads do, are named and not compared.
 */
import type { Batch } from '../data/batch.js'
import { AttncError } from '../errors.js'
import { numbersOf, type RuntimeTensor } from '../onnx/numbers.js'

export interface OutputDifference {
  readonly name: string
  readonly before: readonly number[]
  readonly after: readonly number[]
  /** null where the shapes differ. */
  readonly difference: {
    readonly largest: number
    readonly mean: number
    /** Of the largest number that the first model said, and of the mean size of its numbers. */
    readonly largestRelative: number
    readonly meanRelative: number
    /** Mean over rows; null where rows have one number. */
    readonly cosine: number | null
    /** Share of rows whose largest number is at the same place; null where rows have one number. */
    readonly agreement: number | null
    readonly rows: number
  } | null
}

interface Sums {
  before: readonly number[]
  after: readonly number[]
  isComparable: boolean
  width: number
  rows: number
  count: number
  largest: number
  total: number
  scale: number
  size: number
  cosine: number
  agreements: number
}

/** Collects batch after batch. Error: NOT_A_NUMBER. */
export class OutputComparison {
  private readonly sums = new Map<string, Sums>()

  add(
    first: Readonly<Record<string, RuntimeTensor>>,
    second: Readonly<Record<string, RuntimeTensor>>,
    batch: Batch,
  ): void {
    for (const [name, one] of Object.entries(first)) {
      const other = second[name]
      if (other) this.addOutput(name, one, other, batch.tokenMask)
    }
  }

  private addOutput(
    name: string,
    one: RuntimeTensor,
    other: RuntimeTensor,
    mask: RuntimeTensor | undefined,
  ): void {
    const sums = this.sums.get(name) ?? emptySums(one, other)
    this.sums.set(name, sums)
    sums.isComparable &&= one.dims.join() === other.dims.join()
    if (!sums.isComparable) return
    const [a, b] = [numbersOf(one), numbersOf(other)]
    const isKept = keptRows(one.dims, mask)
    for (let row = 0; row * sums.width < a.length; row++) {
      if (!isKept(row)) continue
      const from = row * sums.width
      addRow(sums, a.subarray(from, from + sums.width), b.subarray(from, from + sums.width))
      for (const [place, numbers] of [
        ['first', a],
        ['second', b],
      ] as const)
        if (numbers.subarray(from, from + sums.width).some(Number.isNaN))
          throw notANumber(name, place)
    }
  }

  result(): OutputDifference[] {
    return [...this.sums].map(([name, sums]) => ({
      name,
      before: sums.before,
      after: sums.after,
      difference: sums.isComparable ? differenceOf(sums) : null,
    }))
  }
}

const emptySums = (one: RuntimeTensor, other: RuntimeTensor): Sums => ({
  before: one.dims,
  after: other.dims,
  isComparable: true,
  width: Math.max(1, one.dims.length > 1 ? (one.dims.at(-1) ?? 1) : one.data.length),
  rows: 0,
  count: 0,
  largest: 0,
  total: 0,
  scale: 0,
  size: 0,
  cosine: 0,
  agreements: 0,
})

/** Rows of [batch, sequence, …] whose token is none are left out. */
function keptRows(
  dims: readonly number[],
  mask: RuntimeTensor | undefined,
): (row: number) => boolean {
  const [batch, sequence] = mask?.dims ?? []
  if (!mask || dims.length < 3 || dims[0] !== batch || dims[1] !== sequence) return () => true
  const each = dims.slice(2, -1).reduce((product, dim) => product * dim, 1)
  return (row) => Number(mask.data[Math.floor(row / each)]) > 0
}

type Numbers = Float32Array | Float64Array

function addRow(sums: Sums, a: Numbers, b: Numbers): void {
  let [ab, aa, bb, bestA, bestB] = [0, 0, 0, 0, 0]
  for (let i = 0; i < a.length; i++) {
    const [x, y] = [a[i] as number, b[i] as number]
    const difference = x === y ? 0 : Math.abs(x - y)
    sums.largest = Math.max(sums.largest, difference)
    sums.total += difference
    if (Number.isFinite(x)) {
      sums.scale = Math.max(sums.scale, Math.abs(x))
      sums.size += Math.abs(x)
    }
    ab += x * y
    aa += x * x
    bb += y * y
    if (x > (a[bestA] as number)) bestA = i
    if (y > (b[bestB] as number)) bestB = i
  }
  sums.count += a.length
  sums.rows++
  sums.cosine += aa === 0 && bb === 0 ? 1 : ab / Math.sqrt(aa * bb || 1)
  if (bestA === bestB) sums.agreements++
}

function differenceOf(sums: Sums): OutputDifference['difference'] {
  const { rows, width, largest, total, scale, size, count } = sums
  const share = (part: number, whole: number): number => (part === 0 ? 0 : part / (whole || 1e-30))
  return {
    largest,
    mean: total / Math.max(count, 1),
    largestRelative: share(largest, scale),
    meanRelative: share(total, size),
    cosine: width > 1 && rows > 0 ? sums.cosine / rows : null,
    agreement: width > 1 && rows > 0 ? sums.agreements / rows : null,
    rows,
  }
}

const notANumber = (name: string, place: 'first' | 'second'): AttncError =>
  new AttncError(
    'NOT_A_NUMBER',
    'numeric',
    `Output "${name}" of the ${place} model has NaN in it.`,
    {
      suggestions: ['Run "attnc verify" on that model.'],
    },
  )
