/**
 * Symmetric positive definite matrices of a few thousand rows, row-major in double precision.
 * Plain loops over rows: the inner ones run along memory.
 */

/** L with A = L·Lᵀ, lower triangle, in place of A's. Throws RangeError where A is not positive definite. */
export function cholesky(a: Float64Array, n: number): Float64Array {
  for (let i = 0; i < n; i++) {
    const rowI = i * n
    for (let j = 0; j <= i; j++) {
      const rowJ = j * n
      let sum = a[rowI + j] as number
      for (let k = 0; k < j; k++) sum -= (a[rowI + k] as number) * (a[rowJ + k] as number)
      if (i !== j) a[rowI + j] = sum / (a[rowJ + j] as number)
      else if (sum > 0) a[rowI + i] = Math.sqrt(sum)
      else throw new RangeError(`the matrix is not positive definite at row ${i}`)
    }
  }
  return a
}

/** A⁻¹ of a symmetric positive definite matrix; A is overwritten by its factor. */
export function invertSymmetric(a: Float64Array, n: number): Float64Array {
  const l = cholesky(a, n)
  // Rows of L⁻ᵀ: column j of L⁻¹ stored as row j, so that products run along rows.
  const columns = new Float64Array(n * n)
  for (let j = 0; j < n; j++) {
    const column = j * n
    columns[column + j] = 1 / (l[j * n + j] as number)
    for (let i = j + 1; i < n; i++) {
      const row = i * n
      let sum = 0
      for (let k = j; k < i; k++) sum -= (l[row + k] as number) * (columns[column + k] as number)
      columns[column + i] = sum / (l[row + i] as number)
    }
  }
  const inverse = new Float64Array(n * n)
  for (let i = 0; i < n; i++)
    for (let j = 0; j <= i; j++) {
      let sum = 0
      for (let k = i; k < n; k++)
        sum += (columns[i * n + k] as number) * (columns[j * n + k] as number)
      inverse[i * n + j] = sum
      inverse[j * n + i] = sum
    }
  return inverse
}
