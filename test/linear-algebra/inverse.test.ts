/** Factors, inverses and eigenvectors against their definitions, on seeded matrices. */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { generator } from '../../src/data/generator.js'
import { cholesky, invertSymmetric } from '../../src/linear-algebra/cholesky.js'
import { eigenSymmetric } from '../../src/linear-algebra/eigen.js'
import { invertLarge } from '../../src/linear-algebra/inverse.js'
import {
  type Matrix,
  openProducts,
  plainProducts,
  transpose,
} from '../../src/linear-algebra/products.js'

function random(rows: number, columns: number, seed: number): Matrix {
  const next = generator(seed)
  return {
    rows,
    columns,
    numbers: Float64Array.from({ length: rows * columns }, () => next() - 0.5),
  }
}

/** XᵀX/n + I/10 */
async function positive(n: number, seed: number): Promise<Matrix> {
  const x = random(n, n, seed)
  const a = await plainProducts.multiply(transpose(x), x)
  for (let i = 0; i < n; i++) a.numbers[i * n + i] = (a.numbers[i * n + i] as number) + 0.1
  return a
}

function largestDifference(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let largest = 0
  for (let i = 0; i < a.length; i++)
    largest = Math.max(largest, Math.abs((a[i] as number) - (b[i] as number)))
  return largest
}

const identity = (n: number): Float64Array =>
  Float64Array.from({ length: n * n }, (_, i) => (i % (n + 1) === 0 ? 1 : 0))

const sizes = fc.integer({ min: 1, max: 24 })
const seeds = fc.integer({ min: 1, max: 1e6 })
const some = { numRuns: 40, seed: 7 }

describe('linear algebra', () => {
  it('factors A into L·Lᵀ', async () => {
    await fc.assert(
      fc.asyncProperty(sizes, seeds, async (n, seed) => {
        const a = await positive(n, seed)
        const lower = cholesky(a.numbers.slice(), n)
        for (let i = 0; i < n; i++) lower.fill(0, i * n + i + 1, (i + 1) * n)
        const l: Matrix = { rows: n, columns: n, numbers: lower }
        const product = await plainProducts.multiply(l, transpose(l))
        expect(largestDifference(product.numbers, a.numbers)).toBeLessThan(1e-10)
      }),
      some,
    )
  })

  it('refuses a matrix that is not positive definite, by row', () => {
    expect(() => cholesky(Float64Array.of(1, 2, 2, 1), 2)).toThrow(/row 1/)
  })

  it('inverts so that A·A⁻¹ is the identity', async () => {
    await fc.assert(
      fc.asyncProperty(sizes, seeds, async (n, seed) => {
        const a = await positive(n, seed)
        const numbers = invertSymmetric(a.numbers.slice(), n)
        const product = await plainProducts.multiply(a, { rows: n, columns: n, numbers })
        expect(largestDifference(product.numbers, identity(n))).toBeLessThan(1e-8)
      }),
      some,
    )
  })

  it('inverts by halves and multiplies in the runtime as loops do', async () => {
    await using products = await openProducts({})
    for (const n of [192, 193, 401]) {
      const a = await positive(n, n)
      const inverse = await invertLarge(a, products)
      const product = await products.multiply(a, inverse)
      expect(largestDifference(product.numbers, identity(n))).toBeLessThan(1e-8)
      expect(largestDifference(inverse.numbers, transpose(inverse).numbers)).toBeLessThan(1e-9)
    }
    const [a, b] = [random(130, 150, 1), random(150, 120, 2)]
    const [one, other] = [await products.multiply(a, b), await plainProducts.multiply(a, b)]
    expect(largestDifference(one.numbers, other.numbers)).toBeLessThan(1e-12)
  }, 60_000)

  it('finds orthonormal eigenvectors in descending order', async () => {
    await fc.assert(
      fc.asyncProperty(sizes, seeds, async (n, seed) => {
        const a = await positive(n, seed)
        const { values, vectors } = eigenSymmetric(a.numbers, n)
        const v: Matrix = { rows: n, columns: n, numbers: vectors }
        const gram = await plainProducts.multiply(transpose(v), v)
        expect(largestDifference(gram.numbers, identity(n))).toBeLessThan(1e-9)
        const turned = await plainProducts.multiply(a, v)
        const scaled = vectors.map((each, i) => each * (values[i % n] as number))
        expect(largestDifference(turned.numbers, scaled)).toBeLessThan(1e-8)
        expect([...values]).toEqual([...values].sort((x, y) => y - x))
      }),
      some,
    )
  })
})
