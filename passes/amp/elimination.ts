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
  /** Σ xᵀδ over tokens, [n, D]: what the result should have more of; the weight is first moved to its best. */
  readonly missing?: Float64Array | undefined
  /** λ as a share of the mean of H's diagonal. */
  readonly ridge: number
}

export interface Ranking {
  /** Units in the order in which they are dropped. */
  readonly order: readonly number[]
  /** Squared output error per token after dropping that many, from 1 on. */
  readonly errors: readonly number[]
}

/**
 * Rows that were dropped are swapped behind those that live, so that every loop runs over a dense
 * leading part of the matrices.
 */
export class Elimination {
  private readonly n: number
  private readonly d: number
  private readonly inverse: Float64Array
  private readonly w: Float64Array
  /** ‖w‖² of each place. */
  private readonly norms: Float64Array
  /** Original row at each place, and the place of each original row. */
  private readonly rowAt: Int32Array
  private readonly placeOf: Int32Array
  private alive: number
  private total = 0

  constructor(input: EliminationInput) {
    const n = Math.round(Math.sqrt(input.moments.length))
    this.n = n
    this.d = input.columns
    this.alive = n
    this.rowAt = Int32Array.from({ length: n }, (_, i) => i)
    this.placeOf = this.rowAt.slice()
    this.inverse = invertSymmetric(damped(input, n), n)
    this.w = Float64Array.from(input.weight)
    if (input.missing) this.move(input.missing, 1 / Math.max(input.tokens, 1))
    this.norms = Float64Array.from({ length: n }, (_, i) => squares(this.w, i * this.d, this.d))
  }

  /** Drops `count` of the units, cheapest first given what was dropped before; one stays. */
  drop(units: readonly (readonly number[])[], count: number): Ranking {
    const left = new Map(
      units
        .map((unit, index) => [index, unit.filter((row) => this.isAlive(row))] as const)
        .filter(([, unit]) => unit.length > 0),
    )
    const order: number[] = []
    const errors: number[] = []
    while (order.length < count && left.size > 1) {
      let best = -1
      let least = Number.POSITIVE_INFINITY
      for (const [index, unit] of left) {
        const cost = this.costOf(unit)
        if (cost < least) {
          least = cost
          best = index
        }
      }
      if (best < 0) break
      this.dropRows(left.get(best) as number[])
      left.delete(best)
      this.total += least
      order.push(best)
      errors.push(this.total)
    }
    return { order, errors }
  }

  /** Drops rows that were chosen elsewhere. */
  dropRows(rows: readonly number[]): void {
    for (const row of rows) if (this.isAlive(row)) this.dropRow(row)
  }

  /** The projection now, [n, D] in the original order; dropped rows are zero. */
  weight(): Float64Array {
    const { d, w, n } = this
    const result = new Float64Array(n * d)
    for (let place = 0; place < this.alive; place++) {
      const row = this.rowAt[place] as number
      result.set(w.subarray(place * d, (place + 1) * d), row * d)
    }
    return result
  }

  private isAlive(row: number): boolean {
    return (this.placeOf[row] as number) < this.alive
  }

  /** W += scale · H⁻¹ · right */
  private move(right: Float64Array, scale: number): void {
    const { n, d, w, inverse } = this
    for (let i = 0; i < n; i++)
      for (let k = 0; k < n; k++)
        addScaled(w, i * d, right, k * d, scale * (inverse[i * n + k] as number), d)
  }

  /** tr(Wᵤᵀ (H⁻¹)ᵤᵤ⁻¹ Wᵤ) */
  private costOf(unit: readonly number[]): number {
    const { n, d, w, inverse, norms } = this
    const places = unit.map((row) => this.placeOf[row] as number)
    const [first = 0] = places
    if (places.length === 1)
      return (norms[first] as number) / (inverse[first * n + first] as number)
    // With L Lᵀ = (H⁻¹)ᵤᵤ the cost is ‖L⁻¹ Wᵤ‖².
    const m = places.length
    const block = new Float64Array(m * m)
    for (const [i, row] of places.entries())
      for (const [j, column] of places.entries())
        block[i * m + j] = inverse[row * n + column] as number
    const l = cholesky(block, m)
    const x = new Float64Array(m * d)
    let cost = 0
    for (const [i, row] of places.entries()) {
      x.set(w.subarray(row * d, (row + 1) * d), i * d)
      for (let k = 0; k < i; k++) addScaled(x, i * d, x, k * d, -(l[i * m + k] as number), d)
      const scale = 1 / (l[i * m + i] as number)
      for (let c = i * d; c < (i + 1) * d; c++) x[c] = (x[c] as number) * scale
      cost += squares(x, i * d, d)
    }
    return cost
  }

  /** Updates W and H⁻¹ for a row's absence and moves it behind the living. */
  private dropRow(original: number): void {
    const { n, d, w, inverse, norms } = this
    const last = this.alive - 1
    this.swap(this.placeOf[original] as number, last)
    const pivot = inverse[last * n + last] as number
    const pivotRow = last * n
    for (let i = 0; i < last; i++) {
      const factor = -(inverse[i * n + last] as number) / pivot
      if (factor === 0) continue
      addScaled(inverse, i * n, inverse, pivotRow, factor, last)
      norms[i] = addScaled(w, i * d, w, last * d, factor, d)
    }
    w.fill(0, last * d, (last + 1) * d)
    this.alive = last
  }

  private swap(a: number, b: number): void {
    if (a === b) return
    const { n, d, w, inverse, norms, rowAt, placeOf } = this
    const exchange = (array: Float64Array, i: number, j: number): void => {
      const kept = array[i] as number
      array[i] = array[j] as number
      array[j] = kept
    }
    for (let k = 0; k < this.alive; k++) exchange(inverse, a * n + k, b * n + k)
    for (let k = 0; k < this.alive; k++) exchange(inverse, k * n + a, k * n + b)
    for (let c = 0; c < d; c++) exchange(w, a * d + c, b * d + c)
    exchange(norms, a, b)
    const rowA = rowAt[a] as number
    const rowB = rowAt[b] as number
    rowAt[a] = rowB
    rowAt[b] = rowA
    placeOf[rowA] = b
    placeOf[rowB] = a
  }
}

function damped({ moments, tokens, ridge }: EliminationInput, n: number): Float64Array {
  const h = Float64Array.from(moments, (each) => each / Math.max(tokens, 1))
  let trace = 0
  for (let i = 0; i < n; i++) trace += h[i * n + i] as number
  const lambda = Math.max((ridge * trace) / n, Number.MIN_VALUE * 2 ** 60)
  for (let i = 0; i < n; i++) h[i * n + i] = (h[i * n + i] as number) + lambda
  return h
}

function squares(x: Float64Array, at: number, length: number): number {
  let sum = 0
  for (let c = at; c < at + length; c++) sum += (x[c] as number) * (x[c] as number)
  return sum
}

/** to[at…] += factor · from[source…]; returns the squared norm of the result. */
function addScaled(
  to: Float64Array,
  at: number,
  from: Float64Array,
  source: number,
  factor: number,
  length: number,
): number {
  let sum = 0
  for (let c = 0; c < length; c++) {
    const value = (to[at + c] as number) + factor * (from[source + c] as number)
    to[at + c] = value
    sum += value * value
  }
  return sum
}
