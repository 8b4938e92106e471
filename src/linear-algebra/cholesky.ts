/**
 * Symmetric positive definite matrices of a few thousand rows, row-major in double precision.
 * Inner products run along rows, four at a time: one alone would wait for its own additions.
 */

const LANES = 4

/** L with A = L·Lᵀ, lower triangle, in place of A's. Throws RangeError where A is not positive definite. */
export function cholesky(a: Float64Array, n: number): Float64Array {
  const sums = new Float64Array(LANES)
  for (let i = 0; i < n; i++) {
    // Rows above, four at a time, while all four are whole; then one by one.
    let j = 0
    for (; j + LANES <= i; j += LANES) {
      dots(sums, a, i * n, a, j * n, n, 0, j)
      for (let lane = 0; lane < LANES; lane++) {
        const row = (j + lane) * n
        let sum = (a[i * n + j + lane] as number) - (sums[lane] as number)
        for (let k = j; k < j + lane; k++) sum -= (a[i * n + k] as number) * (a[row + k] as number)
        a[i * n + j + lane] = sum / (a[row + j + lane] as number)
      }
    }
    for (; j <= i; j++) {
      let sum = a[i * n + j] as number
      for (let k = 0; k < j; k++) sum -= (a[i * n + k] as number) * (a[j * n + k] as number)
      if (i !== j) a[i * n + j] = sum / (a[j * n + j] as number)
      else if (sum > 0) a[i * n + i] = Math.sqrt(sum)
      else throw new RangeError(`the matrix is not positive definite at row ${i}`)
    }
  }
  return a
}

/** A⁻¹ of a symmetric positive definite matrix; A is overwritten by its factor. */
export function invertSymmetric(a: Float64Array, n: number): Float64Array {
  const l = cholesky(a, n)
  const sums = new Float64Array(LANES)
  // Column j of L⁻¹ as row j.
  const columns = new Float64Array(n * n)
  for (let j = 0; j < n; j++) columns[j * n + j] = 1 / (l[j * n + j] as number)
  for (let i = 1; i < n; i++) {
    const scale = -1 / (l[i * n + i] as number)
    let j = 0
    for (; j + LANES <= i; j += LANES) {
      // The lanes' own triangle is zero below its diagonal, so that all may start at j.
      dots(sums, l, i * n, columns, j * n, n, j, i)
      for (let lane = 0; lane < LANES; lane++)
        columns[(j + lane) * n + i] = scale * (sums[lane] as number)
    }
    for (; j < i; j++) {
      let sum = 0
      for (let k = j; k < i; k++) sum += (l[i * n + k] as number) * (columns[j * n + k] as number)
      columns[j * n + i] = scale * sum
    }
  }
  const inverse = new Float64Array(n * n)
  for (let i = 0; i < n; i++) {
    let j = 0
    for (; j + LANES <= i; j += LANES) {
      dots(sums, columns, i * n, columns, j * n, n, i, n)
      for (let lane = 0; lane < LANES; lane++) {
        inverse[i * n + j + lane] = sums[lane] as number
        inverse[(j + lane) * n + i] = sums[lane] as number
      }
    }
    for (; j <= i; j++) {
      let sum = 0
      for (let k = i; k < n; k++)
        sum += (columns[i * n + k] as number) * (columns[j * n + k] as number)
      inverse[i * n + j] = sum
      inverse[j * n + i] = sum
    }
  }
  return inverse
}

/** sums[lane] = Σₖ a[atA + k] · b[atB + lane·stride + k], from ≤ k < to. */
function dots(
  sums: Float64Array,
  a: Float64Array,
  atA: number,
  b: Float64Array,
  atB: number,
  stride: number,
  from: number,
  to: number,
): void {
  const at1 = atB + stride
  const at2 = at1 + stride
  const at3 = at2 + stride
  let s0 = 0
  let s1 = 0
  let s2 = 0
  let s3 = 0
  for (let k = from; k < to; k++) {
    const x = a[atA + k] as number
    s0 += x * (b[atB + k] as number)
    s1 += x * (b[at1 + k] as number)
    s2 += x * (b[at2 + k] as number)
    s3 += x * (b[at3 + k] as number)
  }
  sums[0] = s0
  sums[1] = s1
  sums[2] = s2
  sums[3] = s3
}
