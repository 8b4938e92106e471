/**
 * The inverse of a large symmetric positive definite matrix by halves (Strassen 1969, with Schur
 * complements), so that nearly all of the work is products.
 */

import { letGoOf } from '../runtime/let-go.js'
import { invertSymmetric } from './cholesky.js'
import { type Matrix, type Products, transpose } from './products.js'

const leaf = 192

/** A⁻¹; A stays as it is. Throws RangeError where A is not positive definite. */
export async function invertLarge(a: Matrix, products: Products): Promise<Matrix> {
  const n = a.rows
  if (n <= leaf) return { rows: n, columns: n, numbers: invertSymmetric(a.numbers.slice(), n) }
  const half = Math.ceil(n / 2)
  // A = [P Q; Qᵀ R], S = R − QᵀP⁻¹Q, T = P⁻¹Q: A⁻¹ = [P⁻¹ + T S⁻¹ Tᵀ, −T S⁻¹; −S⁻¹Tᵀ, S⁻¹]
  const q = part(a, 0, half, half, n)
  const first = part(a, 0, half, 0, half)
  const p = await invertLarge(first, products)
  const t = await products.multiply(p, q)
  const turned = transpose(q)
  const correction = await products.multiply(turned, t)
  const s = part(a, half, n, half, n)
  for (let i = 0; i < s.numbers.length; i++)
    s.numbers[i] = (s.numbers[i] as number) - (correction.numbers[i] as number)
  letGoOf(first.numbers, q.numbers, turned.numbers, correction.numbers)
  const lower = await invertLarge(s, products)
  const across = await products.multiply(t, lower)
  const beside = transpose(t)
  const added = await products.multiply(across, beside)
  letGoOf(s.numbers, t.numbers, beside.numbers)
  const inverse = new Float64Array(n * n)
  for (let i = 0; i < half; i++) {
    for (let j = 0; j < half; j++)
      inverse[i * n + j] =
        (p.numbers[i * half + j] as number) + (added.numbers[i * half + j] as number)
    for (let j = half; j < n; j++) {
      const value = -(across.numbers[i * (n - half) + j - half] as number)
      inverse[i * n + j] = value
      inverse[j * n + i] = value
    }
  }
  for (let i = half; i < n; i++)
    inverse.set(
      lower.numbers.subarray((i - half) * (n - half), (i - half + 1) * (n - half)),
      i * n + half,
    )
  letGoOf(p.numbers, lower.numbers, across.numbers, added.numbers)
  return { rows: n, columns: n, numbers: inverse }
}

function part(a: Matrix, top: number, bottom: number, left: number, right: number): Matrix {
  const columns = right - left
  const numbers = new Float64Array((bottom - top) * columns)
  for (let i = top; i < bottom; i++)
    numbers.set(
      a.numbers.subarray(i * a.columns + left, i * a.columns + right),
      (i - top) * columns,
    )
  return { rows: bottom - top, columns, numbers }
}
