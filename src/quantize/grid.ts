/**
 * Numbers on a grid: runs of `block` inputs of each output share a scale and a zero point, and every number
 * becomes a code of 4 or 8 bits. number ≈ scale · (code − zero). Scales are those that the file can hold:
 * codes are found after the scale was rounded to the model's own type.
 */
import type { DataType } from '../onnx/data-type.js'
import { fromHalf, toHalf } from '../onnx/half-precision.js'

export interface Grid {
  readonly bits: 4 | 8
  /** Inputs that share a scale. */
  readonly block: number
  /** No zero points: the middle code is zero. */
  readonly symmetric: boolean
}

/** Sizes of a block that the kernels take. */
export const blockSizes = [16, 32, 64, 128, 256] as const

/** Whether something read from a file is a grid that the kernels take. */
export const isGrid = (value: Partial<Grid> | undefined): value is Grid =>
  (value?.bits === 4 || value?.bits === 8) &&
  blockSizes.some((size) => size === value.block) &&
  typeof value.symmetric === 'boolean'

/** A matrix [outputs, inputs] in codes. */
export interface Codes {
  readonly outputs: number
  readonly inputs: number
  /** [outputs, inputs], one a byte. */
  readonly codes: Uint8Array
  /** [outputs, blocks] */
  readonly scales: Float32Array
  /** [outputs, blocks] */
  readonly zeros: Uint8Array
}

export const blocksOf = (inputs: number, { block }: Pick<Grid, 'block'>): number =>
  Math.ceil(inputs / block)

/** The scale and zero point of numbers from `low` to `high`: none of them is more than half a step off. */
export function stepOf(
  low: number,
  high: number,
  { bits, symmetric }: Pick<Grid, 'bits' | 'symmetric'>,
  type: DataType,
): { readonly scale: number; readonly zero: number } {
  const middle = 2 ** (bits - 1)
  const top = 2 ** bits - 1
  // Zero itself is always on the grid.
  const [from, to] = [Math.min(low, 0), Math.max(high, 0)]
  const span = symmetric ? Math.max(-from, to) / (middle - 1) : (to - from) / top
  const scale = storable(span, type)
  if (symmetric) return { scale, zero: middle }
  return { scale, zero: Math.min(top, Math.max(0, Math.round(-from / scale))) }
}

/** Ranges that are tried: the whole, and what is left after cutting 5 % at a time. */
const shares = [1, 0.95, 0.9, 0.85, 0.8, 0.75, 0.7, 0.65] as const

/** The scale and zero point with the least squared error: outliers may be cut off for it. */
export function closestStep(
  values: Float64Array,
  grid: Grid,
  type: DataType,
): { readonly scale: number; readonly zero: number } {
  let [low, high] = [0, 0]
  for (const value of values) {
    if (value < low) low = value
    if (value > high) high = value
  }
  let best = { scale: 1, zero: 0, error: Number.POSITIVE_INFINITY }
  for (const share of shares) {
    const { scale, zero } = stepOf(low * share, high * share, grid, type)
    let error = 0
    for (const value of values)
      error += (value - scale * (codeOf(value, scale, zero, grid.bits) - zero)) ** 2
    if (error < best.error) best = { scale, zero, error }
  }
  return best
}

/** The nearest scale that the type holds and that can be divided by. */
function storable(span: number, type: DataType): number {
  if (span === 0) return 1
  if (type !== 'float16') return Math.fround(Math.max(span, 2 ** -126))
  const bits = toHalf(Math.max(span, 2 ** -24))
  // Rounded up, so that the ends of the range stay within reach of the last codes.
  return fromHalf(fromHalf(bits) < span ? bits + 1 : bits)
}

export function codeOf(value: number, scale: number, zero: number, bits: Grid['bits']): number {
  const code = Math.round(value / scale) + zero
  return Math.min(2 ** bits - 1, Math.max(0, code))
}

/** Every number to the nearest point of its block's grid. `matrix` is [outputs, inputs]. */
export function roundToGrid(
  matrix: Float64Array | Float32Array,
  outputs: number,
  grid: Grid,
  type: DataType,
): Codes {
  const inputs = matrix.length / outputs
  const blocks = blocksOf(inputs, grid)
  const codes = new Uint8Array(outputs * inputs)
  const scales = new Float32Array(outputs * blocks)
  const zeros = new Uint8Array(outputs * blocks)
  for (let row = 0; row < outputs; row++)
    for (let each = 0; each < blocks; each++) {
      const start = row * inputs + each * grid.block
      const end = Math.min(start + grid.block, (row + 1) * inputs)
      let [low, high] = [0, 0]
      for (let i = start; i < end; i++) {
        const value = matrix[i] as number
        if (value < low) low = value
        if (value > high) high = value
      }
      const { scale, zero } = stepOf(low, high, grid, type)
      scales[row * blocks + each] = scale
      zeros[row * blocks + each] = zero
      for (let i = start; i < end; i++)
        codes[i] = codeOf(matrix[i] as number, scale, zero, grid.bits)
    }
  return { outputs, inputs, codes, scales, zeros }
}

/** The numbers that codes stand for, [outputs, inputs]. */
export function dequantise(
  { outputs, inputs, codes, scales, zeros }: Codes,
  grid: Pick<Grid, 'block'>,
): Float32Array {
  const blocks = blocksOf(inputs, grid)
  const matrix = new Float32Array(outputs * inputs)
  for (let row = 0, at = 0; row < outputs; row++)
    for (let i = 0; i < inputs; i++, at++) {
      const place = row * blocks + Math.floor(i / grid.block)
      matrix[at] = (scales[place] as number) * ((codes[at] as number) - (zeros[place] as number))
    }
  return matrix
}
