/** Eigenvectors of small symmetric matrices (a few hundred rows), by Jacobi rotations. */

export interface Eigen {
  /** Descending. */
  readonly values: Float64Array
  /** [n, n], column k belongs to value k. */
  readonly vectors: Float64Array
}

/** Cyclic Jacobi (Golub & Van Loan, Matrix Computations, §8.5). */
export function eigenSymmetric(matrix: Float64Array, n: number): Eigen {
  const a = Float64Array.from(matrix)
  // Rows of v are eigenvectors while it runs, so that rotations run along memory.
  const v = new Float64Array(n * n)
  for (let i = 0; i < n; i++) v[i * n + i] = 1
  const scale = squares(a)
  for (let sweep = 0; sweep < 60 && offDiagonal(a, n) > 1e-24 * scale; sweep++)
    for (let p = 0; p < n; p++) for (let q = p + 1; q < n; q++) rotate(a, v, n, p, q)
  const order = Array.from({ length: n }, (_, i) => i).sort(
    (i, j) => (a[j * n + j] as number) - (a[i * n + i] as number),
  )
  const vectors = new Float64Array(n * n)
  for (const [k, i] of order.entries())
    for (let r = 0; r < n; r++) vectors[r * n + k] = v[i * n + r] as number
  return { values: Float64Array.from(order, (i) => a[i * n + i] as number), vectors }
}

function rotate(a: Float64Array, v: Float64Array, n: number, p: number, q: number): void {
  const apq = a[p * n + q] as number
  if (apq === 0) return
  const theta = ((a[q * n + q] as number) - (a[p * n + p] as number)) / (2 * apq)
  const t = (theta >= 0 ? 1 : -1) / (Math.abs(theta) + Math.sqrt(theta * theta + 1))
  const c = 1 / Math.sqrt(t * t + 1)
  const s = t * c
  for (let k = 0; k < n; k++) {
    const kp = a[k * n + p] as number
    const kq = a[k * n + q] as number
    a[k * n + p] = c * kp - s * kq
    a[k * n + q] = s * kp + c * kq
  }
  turnRows(a, n, p, q, c, s)
  turnRows(v, n, p, q, c, s)
}

function turnRows(x: Float64Array, n: number, p: number, q: number, c: number, s: number): void {
  for (let k = 0; k < n; k++) {
    const xp = x[p * n + k] as number
    const xq = x[q * n + k] as number
    x[p * n + k] = c * xp - s * xq
    x[q * n + k] = s * xp + c * xq
  }
}

const squares = (x: Float64Array): number => x.reduce((sum, each) => sum + each * each, 0)

function offDiagonal(a: Float64Array, n: number): number {
  let sum = 0
  for (let i = 0; i < n; i++)
    for (let j = 0; j < n; j++) if (i !== j) sum += (a[i * n + j] as number) ** 2
  return sum
}
