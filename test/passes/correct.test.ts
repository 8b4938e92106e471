/** What weights that read the pruned stream become, against the error that they are to make least. */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { generator } from '../../src/data/generator.js'
import { plainProducts } from '../../src/linear-algebra/products.js'
import type { BlockRead } from '../../src/model/reads.js'
import { correctRead } from '../../src/repair/correct.js'

const tokens = 40
const outputs = 3

/** Σ‖x̃W′ − xW‖² of a problem with n inputs, and what `correctRead` makes of it. */
async function solve(n: number, noise: number, seed: number) {
  const next = generator(seed)
  const random = (length: number) => Float64Array.from({ length }, () => next() - 0.5)
  const x = random(tokens * n)
  const pruned = random(tokens * n).map((each, i) => (x[i] as number) + noise * each)
  const weight = random(n * outputs)
  const moments = product(pruned, pruned, n)
  const missing = product(
    pruned,
    x.map((each, i) => each - (pruned[i] as number)),
    n,
  )
  const read = {
    size: n,
    projections: [{ rows: n, columns: outputs, read: () => weight }],
  } as unknown as BlockRead
  const observation = { moments, missing, tokens, means: undefined }
  const [corrected] = await correctRead(read, observation, 1e-9, plainProducts)
  const error = (w: Float64Array): number => {
    let sum = 0
    for (let t = 0; t < tokens; t++)
      for (let c = 0; c < outputs; c++) {
        let gap = 0
        for (let i = 0; i < n; i++)
          gap +=
            (pruned[t * n + i] as number) * (w[i * outputs + c] as number) -
            (x[t * n + i] as number) * (weight[i * outputs + c] as number)
        sum += gap * gap
      }
    return sum
  }
  return { error, weight, corrected: corrected as Float64Array, random }
}

/** aᵀb of [tokens, n] each. */
function product(a: Float64Array, b: Float64Array, n: number): Float64Array {
  const sum = new Float64Array(n * n)
  for (let t = 0; t < tokens; t++)
    for (let i = 0; i < n; i++)
      for (let j = 0; j < n; j++)
        sum[i * n + j] =
          (sum[i * n + j] as number) + (a[t * n + i] as number) * (b[t * n + j] as number)
  return sum
}

const cases = fc.tuple(fc.integer({ min: 1, max: 12 }), fc.integer({ min: 1, max: 1e6 }))

describe('weights that read the pruned stream', () => {
  it('make less error than they did, and than any others near them', () =>
    fc.assert(
      fc.asyncProperty(cases, async ([n, seed]) => {
        const { error, weight, corrected, random } = await solve(n, 0.5, seed)
        const least = error(corrected)
        expect(least).toBeLessThanOrEqual(error(weight) * (1 + 1e-9))
        const step = random(weight.length)
        expect(
          error(corrected.map((each, i) => each + 1e-3 * (step[i] as number))),
        ).toBeGreaterThan(least)
      }),
      { seed: 7, numRuns: 40 },
    ))

  it('stay as they are where nothing is off', async () => {
    const { weight, corrected } = await solve(8, 0, 3)
    expect(corrected).toEqual(weight)
  })
})
