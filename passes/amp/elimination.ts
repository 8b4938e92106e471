/**
 * Choosing what to drop and re-fitting what stays, in one: optimal-brain-surgeon elimination on the
 * inputs of an output projection. With H = Σxᵀx/T + λI and W the projection [n, D], dropping unit u
 * costs tr(Wᵤᵀ (H⁻¹)ᵤᵤ⁻¹ Wᵤ) in squared output and is best answered by
 * W ← W − H⁻¹[:, u] (H⁻¹)ᵤᵤ⁻¹ Wᵤ (Hassibi & Stork 1993, structured as in ZipLM, 2023).
 */
import { cholesky, invertSymmetric } from '../../src/linear-algebra/cholesky.js'

export interface EliminationInput {
  /** Σ xᵀx over tokens, [n, n]. */
  readonly moments: Float64Array
  readonly tokens: number
  /** [n, D], rows are inputs. */
  readonly weight: Float64Array
  readonly columns: number
  /** Rows that go together. */
  readonly units: readonly (readonly number[])[]
  /** λ as a share of the mean of H's diagonal. */
  readonly ridge: number
}

export interface Elimination {
  /** Units in the order in which they are dropped. */
  readonly order: readonly number[]
  /** Squared output error per token after dropping that many, from 1 on. */
  readonly errors: readonly number[]
  /** The projection after the last drop; rows of dropped units are zero. */
  readonly weight: Float64Array
}

/** Drops `count` units, cheapest first given what was dropped before. */
export function eliminate(input: EliminationInput, count: number): Elimination {
  const n = Math.round(Math.sqrt(input.moments.length))
  const { columns: d, units } = input
  const inverse = invertSymmetric(damped(input, n), n)
  const weight = Float64Array.from(input.weight)
  const active = new Set(units.keys())
  const alive = new Uint8Array(n).fill(1)
  const order: number[] = []
  const errors: number[] = []
  let total = 0
  while (order.length < count && active.size > 1) {
    let best = -1
    let least = Number.POSITIVE_INFINITY
    for (const unit of active) {
      const cost = costOf(inverse, weight, units[unit] as readonly number[], n, d)
      if (cost < least) {
        least = cost
        best = unit
      }
    }
    if (best < 0) break
    drop(inverse, weight, units[best] as readonly number[], n, d, alive)
    active.delete(best)
    total += least
    order.push(best)
    errors.push(total)
  }
  return { order, errors, weight }
}

function damped({ moments, tokens, ridge }: EliminationInput, n: number): Float64Array {
  const h = Float64Array.from(moments, (each) => each / Math.max(tokens, 1))
  let trace = 0
  for (let i = 0; i < n; i++) trace += h[i * n + i] as number
  const lambda = Math.max((ridge * trace) / n, 1e-12)
  for (let i = 0; i < n; i++) h[i * n + i] = (h[i * n + i] as number) + lambda
  return h
}

/** tr(Wᵤᵀ (H⁻¹)ᵤᵤ⁻¹ Wᵤ) */
function costOf(
  inverse: Float64Array,
  weight: Float64Array,
  unit: readonly number[],
  n: number,
  d: number,
): number {
  const [first = 0] = unit
  if (unit.length === 1) {
    let norm = 0
    for (let c = first * d; c < (first + 1) * d; c++) norm += (weight[c] as number) ** 2
    return norm / (inverse[first * n + first] as number)
  }
  const solved = solveUnit(inverse, weight, unit, n, d)
  let cost = 0
  for (const [i, row] of unit.entries())
    for (let c = 0; c < d; c++)
      cost += (weight[row * d + c] as number) * (solved[i * d + c] as number)
  return cost
}

/** (H⁻¹)ᵤᵤ⁻¹ Wᵤ by Cholesky. */
function solveUnit(
  inverse: Float64Array,
  weight: Float64Array,
  unit: readonly number[],
  n: number,
  d: number,
): Float64Array {
  const m = unit.length
  const block = new Float64Array(m * m)
  for (const [i, row] of unit.entries())
    for (const [j, column] of unit.entries()) block[i * m + j] = inverse[row * n + column] as number
  const l = cholesky(block, m)
  const x = new Float64Array(m * d)
  for (const [i, row] of unit.entries()) {
    for (let c = 0; c < d; c++) x[i * d + c] = weight[row * d + c] as number
    for (let k = 0; k < i; k++) addRow(x, i * d, k * d, -(l[i * m + k] as number), d)
    scaleRow(x, i * d, 1 / (l[i * m + i] as number), d)
  }
  for (let i = m - 1; i >= 0; i--) {
    for (let k = i + 1; k < m; k++) addRow(x, i * d, k * d, -(l[k * m + i] as number), d)
    scaleRow(x, i * d, 1 / (l[i * m + i] as number), d)
  }
  return x
}

function addRow(x: Float64Array, to: number, from: number, factor: number, d: number): void {
  for (let c = 0; c < d; c++) x[to + c] = (x[to + c] as number) + factor * (x[from + c] as number)
}

function scaleRow(x: Float64Array, at: number, factor: number, d: number): void {
  for (let c = at; c < at + d; c++) x[c] = (x[c] as number) * factor
}

/** Updates W and H⁻¹ for the unit's absence, row by row, and zeroes its rows. */
function drop(
  inverse: Float64Array,
  weight: Float64Array,
  unit: readonly number[],
  n: number,
  d: number,
  alive: Uint8Array,
): void {
  for (const p of unit) {
    const pivot = inverse[p * n + p] as number
    const rowP = inverse.slice(p * n, (p + 1) * n)
    for (let i = 0; i < n; i++) {
      if (!alive[i] || i === p) continue
      const factor = (rowP[i] as number) / pivot
      if (factor === 0) continue
      const row = i * n
      for (let j = 0; j < n; j++)
        inverse[row + j] = (inverse[row + j] as number) - factor * (rowP[j] as number)
      addRow(weight, i * d, p * d, -factor, d)
    }
    alive[p] = 0
    weight.fill(0, p * d, (p + 1) * d)
  }
}
