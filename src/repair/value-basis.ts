/**
 * The basis of a block's values in which dropping the last members costs least: with S the second
 * moments of a head's context and G what the output projection makes of it, the left singular vectors
 * of S^½·G order the directions by what they write (activation-aware SVD of the value–output pair; as
 * in ASVD, 2023, SVD-LLM, 2024, and the type-III compression of MoDeGPT, 2024).
 */
import { eigenSymmetric } from '../linear-algebra/eigen.js'
import type { ValueFrame } from '../model/value-frame.js'
import { addScaledRows } from './damped-inverse.js'

export interface ValueBasis {
  /** T, [heads, size, size]: a member's new value is Σ old · T[old, new]; most important first. */
  readonly basis: Float64Array
  /** T⁻¹, [heads, size, size]. */
  readonly inverse: Float64Array
}

/** `moments` [n, n] and `weight` [n, columns] of the block's output projection. */
export function findValueBasis(
  frame: ValueFrame,
  moments: Float64Array,
  weight: Float64Array,
  columns: number,
): ValueBasis {
  const { heads, size, inputs } = frame
  const n = weight.length / columns
  const basis = new Float64Array(heads * size * size)
  const inverse = new Float64Array(heads * size * size)
  for (const [head, places] of inputs.entries()) {
    const copies = places[0]?.length ?? 0
    const s = new Float64Array(size * size)
    const g = new Float64Array(size * size)
    for (let copy = 0; copy < copies; copy++)
      for (let i = 0; i < size; i++)
        for (let j = 0; j < size; j++) {
          const row = places[i]?.[copy] as number
          const other = places[j]?.[copy] as number
          s[i * size + j] = (s[i * size + j] as number) + (moments[row * n + other] as number)
          if (j > i) continue
          let dot = 0
          for (let c = 0; c < columns; c++)
            dot += (weight[row * columns + c] as number) * (weight[other * columns + c] as number)
          const sum = (g[i * size + j] as number) + dot
          g[i * size + j] = sum
          g[j * size + i] = sum
        }
    const { root, inverseRoot } = roots(s, size)
    const { vectors } = eigenSymmetric(multiply(multiply(root, g, size), root, size), size)
    basis.set(multiply(inverseRoot, vectors, size), head * size * size)
    inverse.set(multiply(transpose(vectors, size), root, size), head * size * size)
  }
  return { basis, inverse }
}

const NOTHING = 1e-30

/** S^½ and S^-½, directions that hardly occur lifted to a millionth of the largest. */
function roots(s: Float64Array, n: number) {
  const { values, vectors } = eigenSymmetric(s, n)
  // Values that never change, of which rounding is all that is left, are taken to be one like another.
  const floor = (values[0] ?? 0) > NOTHING ? (values[0] as number) * 1e-6 : 1
  const power = (exponent: number): Float64Array => {
    const scaled = vectors.slice()
    for (let i = 0; i < n; i++)
      for (let k = 0; k < n; k++)
        scaled[i * n + k] =
          (scaled[i * n + k] as number) * Math.max(values[k] as number, floor) ** exponent
    return multiply(scaled, transpose(vectors, n), n)
  }
  return { root: power(0.5), inverseRoot: power(-0.5) }
}

function multiply(a: Float64Array, b: Float64Array, n: number): Float64Array {
  const c = new Float64Array(n * n)
  for (let i = 0; i < n; i++)
    for (let k = 0; k < n; k++) {
      const factor = a[i * n + k] as number
      for (let j = 0; j < n; j++)
        c[i * n + j] = (c[i * n + j] as number) + factor * (b[k * n + j] as number)
    }
  return c
}

function transpose(a: Float64Array, n: number): Float64Array {
  const t = new Float64Array(n * n)
  for (let i = 0; i < n; i++) for (let j = 0; j < n; j++) t[j * n + i] = a[i * n + j] as number
  return t
}

/**
 * Rows of a matrix [n, columns] turned head by head: new[j] = Σ_d matrix(head)[j, d] · old[d], in place.
 * With T⁻¹ a projection reads turned values; with Tᵀ moments become those of turned values.
 */
export function turnRows(
  rows: Float64Array,
  columns: number,
  frame: ValueFrame,
  matrix: (head: number, to: number, from: number) => number,
): void {
  const { size, inputs } = frame
  const old = new Float64Array(size * columns)
  const factors = new Float64Array(size)
  for (const [head, places] of inputs.entries())
    for (let copy = 0; copy < (places[0]?.length ?? 0); copy++) {
      for (let d = 0; d < size; d++) {
        const at = (places[d]?.[copy] as number) * columns
        old.set(rows.subarray(at, at + columns), d * columns)
      }
      for (let j = 0; j < size; j++) {
        const at = (places[j]?.[copy] as number) * columns
        rows.fill(0, at, at + columns)
        for (let d = 0; d < size; d++) factors[d] = matrix(head, j, d)
        addScaledRows(rows, at, old, 0, factors, columns)
      }
    }
}

/** A projection that reads turned values: T⁻¹·W. */
export function turnWithInverse(
  weight: Float64Array,
  columns: number,
  frame: ValueFrame,
  inverse: Float64Array,
): void {
  const { size } = frame
  turnRows(
    weight,
    columns,
    frame,
    (h, to, from) => inverse[(h * size + to) * size + from] as number,
  )
}

/** Tᵀ·M·T of moments, in place. */
export function turnMoments(moments: Float64Array, frame: ValueFrame, basis: Float64Array): void {
  const n = Math.round(Math.sqrt(moments.length))
  const { size } = frame
  const turn = (): void =>
    turnRows(moments, n, frame, (h, to, from) => basis[(h * size + from) * size + to] as number)
  turn()
  for (let i = 0; i < n; i++)
    for (let j = 0; j < i; j++) {
      const kept = moments[i * n + j] as number
      moments[i * n + j] = moments[j * n + i] as number
      moments[j * n + i] = kept
    }
  turn()
}
