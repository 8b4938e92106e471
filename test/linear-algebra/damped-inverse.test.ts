/** Moments that have an inverse once they are damped, and moments that never have one. */
import { describe, expect, it } from 'vitest'
import { plainProducts } from '../../src/linear-algebra/products.js'
import { invertDamped } from '../../src/repair/damped-inverse.js'

const invert = (moments: readonly number[]) =>
  invertDamped({ moments: Float64Array.from(moments), tokens: 4, ridge: 0.01 }, 2, plainProducts)

describe('moments', () => {
  it('of low rank are damped until they have an inverse', async () => {
    const { numbers } = await invert([4, 4, 4, 4])
    expect(numbers.every(Number.isFinite)).toBe(true)
  })

  it('that are no numbers are refused', async () => {
    await expect(invert([Number.NaN, 0, 0, 1])).rejects.toMatchObject({
      code: 'MOMENTS_UNBOUNDED',
      kind: 'numeric',
    })
  })
})
