/** What a unit's absence costs in squared output, and what a row's absence does to what tells it. */
import { cholesky } from '../linear-algebra/cholesky.js'
import { transpose } from '../linear-algebra/products.js'
import { addScaled, addScaledRows, squares } from './damped-inverse.js'

/** tr(Wᵤᵀ (H⁻¹)ᵤᵤ⁻¹ Wᵤ), of W [n, d]. */
export function costOf(
  inverse: Float64Array,
  w: Float64Array,
  n: number,
  d: number,
  places: readonly number[],
): number {
  const [first = 0] = places
  if (places.length === 1) return squares(w, first * d, d) / (inverse[first * n + first] as number)
  // With L Lᵀ = (H⁻¹)ᵤᵤ the cost is ‖L⁻¹ Wᵤ‖².
  const m = places.length
  const l = cholesky(gather(inverse, n, places), m)
  const x = new Float64Array(m * d)
  let cost = 0
  for (const [i, row] of places.entries()) {
    x.set(w.subarray(row * d, (row + 1) * d), i * d)
    const factors = l.slice(i * m, i * m + i)
    for (let k = 0; k < i; k++) factors[k] = -(factors[k] as number)
    addScaledRows(x, i * d, x, 0, factors, d)
    const scale = 1 / (l[i * m + i] as number)
    for (let c = i * d; c < (i + 1) * d; c++) x[c] = (x[c] as number) * scale
    cost += squares(x, i * d, d)
  }
  return cost
}

/** The same by G = W Wᵀ: tr((H⁻¹)ᵤᵤ⁻¹ Gᵤᵤ), of upper triangles. */
export function costByGram(
  inverse: Float64Array,
  gram: Float64Array,
  n: number,
  places: readonly number[],
): number {
  const [first = 0] = places
  const own = first * n + first
  if (places.length === 1) return (gram[own] as number) / (inverse[own] as number)
  // With L Lᵀ = (H⁻¹)ᵤᵤ it is the trace of L⁻¹ G L⁻ᵀ, and G = Gᵀ: L⁻¹ goes over columns, then over what were rows.
  const m = places.length
  const l = cholesky(gatherSymmetric(inverse, n, places), m)
  const half = { rows: m, columns: m, numbers: gatherSymmetric(gram, n, places) }
  solveLower(l, half.numbers, m)
  const whole = transpose(half).numbers
  solveLower(l, whole, m)
  return places.reduce((trace, _, i) => trace + (whole[i * m + i] as number), 0)
}

/** x ← L⁻¹ x, [m, m] both. */
function solveLower(l: Float64Array, x: Float64Array, m: number): void {
  for (let i = 0; i < m; i++) {
    for (let k = 0; k < i; k++) addScaled(x, i * m, x, k * m, -(l[i * m + k] as number), m)
    const scale = 1 / (l[i * m + i] as number)
    for (let c = i * m; c < (i + 1) * m; c++) x[c] = (x[c] as number) * scale
  }
}

/**
 * One row's absence, in the upper triangles of both; its own row and column become zero. With wᵢ ← wᵢ + fᵢ·wᵤ, products
 * of rows are Gᵢⱼ ← Gᵢⱼ + fᵢ·Gᵤⱼ + fⱼ·(Gᵢᵤ + fᵢ·Gᵤᵤ).
 */
export function eliminate(
  inverse: Float64Array,
  gram: Float64Array,
  n: number,
  place: number,
): void {
  const [row, products] = [takeRow(inverse, n, place), takeRow(gram, n, place)]
  const pivot = row[place] as number
  const own = products[place] as number
  const factors = row.map((each, i) => (i === place ? 0 : -each / pivot))
  for (let i = 0; i < n; i++) {
    const factor = factors[i] as number
    const beside = (products[i] as number) + factor * own
    // Rows that went before are zero.
    if (i === place || (factor === 0 && beside === 0)) continue
    const at = i * n + i
    for (let j = i, to = at; j < n; j++, to++) {
      inverse[to] = (inverse[to] as number) + factor * (row[j] as number)
      gram[to] =
        (gram[to] as number) + factor * (products[j] as number) + beside * (factors[j] as number)
    }
    if (i > place) continue
    inverse[i * n + place] = 0
    gram[i * n + place] = 0
  }
}

/** A row of a symmetric matrix of which the upper triangle is kept; what of it lies there becomes zero. */
function takeRow(matrix: Float64Array, n: number, place: number): Float64Array {
  const row = new Float64Array(n)
  for (let i = 0; i < place; i++) row[i] = matrix[i * n + place] as number
  row.set(matrix.subarray(place * n + place, (place + 1) * n), place)
  matrix.fill(0, place * n, (place + 1) * n)
  return row
}

/** Rows and columns of a matrix [n, n]. */
export function gather(from: Float64Array, n: number, places: readonly number[]): Float64Array {
  const m = places.length
  const to = new Float64Array(m * m)
  for (let i = 0; i < m; i++) {
    const row = (places[i] as number) * n
    for (let j = 0; j < m; j++) to[i * m + j] = from[row + (places[j] as number)] as number
  }
  return to
}

/** The same of a symmetric matrix of which the upper triangle is kept; `places` rise. */
function gatherSymmetric(from: Float64Array, n: number, places: readonly number[]): Float64Array {
  const to = gather(from, n, places)
  const m = places.length
  for (let i = 0; i < m; i++) for (let j = 0; j < i; j++) to[i * m + j] = to[j * m + i] as number
  return to
}
