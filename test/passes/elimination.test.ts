/** Elimination against least squares solved anew for every set of inputs that stays. */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { generator } from '../../src/data/generator.js'
import { invertSymmetric } from '../../src/linear-algebra/cholesky.js'
import { plainProducts } from '../../src/linear-algebra/products.js'
import { Elimination } from '../../src/repair/elimination.js'
import { Metric } from '../../src/repair/metric.js'

interface Problem {
  readonly n: number
  readonly d: number
  readonly tokens: number
  readonly moments: Float64Array
  readonly weight: Float64Array
  readonly missing: Float64Array
  /** H = moments/tokens + λI, as the elimination damps it. */
  readonly h: Float64Array
}

const ridge = 0.5

function problem(n: number, d: number, seed: number): Problem {
  const next = generator(seed)
  const tokens = 4 * n
  const x = Float64Array.from({ length: tokens * n }, () => next() - 0.4)
  const gap = Float64Array.from({ length: tokens * d }, () => next() - 0.5)
  const moments = new Float64Array(n * n)
  const missing = new Float64Array(n * d)
  for (let t = 0; t < tokens; t++)
    for (let i = 0; i < n; i++) {
      for (let j = 0; j < n; j++)
        moments[i * n + j] = at(moments, i * n + j) + at(x, t * n + i) * at(x, t * n + j)
      for (let c = 0; c < d; c++)
        missing[i * d + c] = at(missing, i * d + c) + at(x, t * n + i) * at(gap, t * d + c)
    }
  const weight = Float64Array.from({ length: n * d }, () => next() - 0.5)
  const h = moments.map((each) => each / tokens)
  let trace = 0
  for (let i = 0; i < n; i++) trace += at(h, i * n + i)
  for (let i = 0; i < n; i++) h[i * n + i] = at(h, i * n + i) + ((ridge * n) / tokens) * (trace / n)
  return { n, d, tokens, moments, weight, missing, h }
}

const at = (array: ArrayLike<number>, index: number): number => array[index] as number

/** argmin over W′ that lives on `kept` of tr((W − W′)ᵀH(W − W′)), and that minimum. */
function solve({ n, d, h }: Problem, target: Float64Array, kept: readonly number[]) {
  const m = kept.length
  const square = Float64Array.from({ length: m * m }, (_, i) =>
    at(h, at(kept, Math.floor(i / m)) * n + at(kept, i % m)),
  )
  const inverse = invertSymmetric(square, m)
  const weight = new Float64Array(n * d)
  for (let c = 0; c < d; c++) {
    const right = kept.map((row) => {
      let sum = 0
      for (let j = 0; j < n; j++) sum += at(h, row * n + j) * at(target, j * d + c)
      return sum
    })
    for (const [i, row] of kept.entries())
      for (let k = 0; k < m; k++)
        weight[row * d + c] = at(weight, row * d + c) + at(inverse, i * m + k) * at(right, k)
  }
  let error = 0
  for (let c = 0; c < d; c++)
    for (let i = 0; i < n; i++)
      for (let j = 0; j < n; j++)
        error +=
          (at(target, i * d + c) - at(weight, i * d + c)) *
          at(h, i * n + j) *
          (at(target, j * d + c) - at(weight, j * d + c))
  return { weight, error }
}

const open = (each: Problem, missing?: Float64Array): Promise<Elimination> =>
  Elimination.open(
    {
      moments: each.moments,
      tokens: each.tokens,
      weight: each.weight,
      columns: each.d,
      ridge,
      missing,
    },
    plainProducts,
  )

const largest = (a: ArrayLike<number>, b: ArrayLike<number>): number =>
  Array.from(a).reduce((top, each, i) => Math.max(top, Math.abs(each - at(b, i))), 0)

const seeds = fc.integer({ min: 1, max: 1e6 })
const some = { numRuns: 30, seed: 11 }
const rowsBut = (n: number, gone: ReadonlySet<number>): number[] =>
  Array.from({ length: n }, (_, row) => row).filter((row) => !gone.has(row))

describe('elimination', () => {
  it('leaves the least-squares answer and states its error, whatever went', async () => {
    await fc.assert(
      fc.asyncProperty(seeds, fc.integer({ min: 1, max: 8 }), async (seed, count) => {
        const each = problem(10, 3, seed)
        const elimination = await open(each)
        const units = Array.from({ length: 10 }, (_, row) => [row])
        const { order, errors } = await elimination.drop(units, count)
        expect(order).toHaveLength(count)
        const wanted = solve(each, each.weight, rowsBut(10, new Set(order)))
        expect(largest(elimination.weight(), wanted.weight)).toBeLessThan(1e-8)
        expect(errors.at(-1)).toBeCloseTo(wanted.error, 8)
      }),
      some,
    )
  })

  it('drops first what costs least, for single inputs and for runs of them', async () => {
    await fc.assert(
      fc.asyncProperty(seeds, fc.constantFrom(1, 2, 3), async (seed, run) => {
        const each = problem(12, 2, seed)
        const units = Array.from({ length: 12 / run }, (_, unit) =>
          Array.from({ length: run }, (_, i) => unit * run + i),
        )
        const { order, errors } = await (await open(each)).drop(units, 1)
        const all = units.map((rows) => solve(each, each.weight, rowsBut(12, new Set(rows))).error)
        expect(errors[0]).toBeCloseTo(Math.min(...all), 8)
        expect(all[at(order, 0)]).toBeCloseTo(Math.min(...all), 8)
      }),
      some,
    )
  })

  it('gives what is missing to the inputs that stay', async () => {
    const each = problem(8, 3, 5)
    const elimination = await open(each, each.missing)
    await elimination.dropRows([1, 4])
    const inverse = invertSymmetric(each.h.slice(), 8)
    const target = each.weight.slice()
    for (let i = 0; i < 8; i++)
      for (let c = 0; c < 3; c++)
        for (let k = 0; k < 8; k++)
          target[i * 3 + c] =
            at(target, i * 3 + c) +
            (at(inverse, i * 8 + k) * at(each.missing, k * 3 + c)) / each.tokens
    const wanted = solve(each, target, rowsBut(8, new Set([1, 4])))
    expect(largest(elimination.weight(), wanted.weight)).toBeLessThan(1e-8)
  })

  it('keeps one unit, however many are to go', async () => {
    const { order } = await (await open(problem(5, 2, 3))).drop([[0], [1], [2], [3], [4]], 9)
    expect(order).toHaveLength(4)
  })

  it('answers a metric of outputs with the same least squares', async () => {
    const each = problem(8, 3, 9)
    const g = Float64Array.of(2, 0.5, 0, 0.5, 1, 0.2, 0, 0.2, 0.5)
    const metric = await Metric.of(g, plainProducts)
    const turned = { ...each, weight: await metric.turn(each.weight) }
    const elimination = await open(turned)
    await elimination.dropRows([0, 3])
    const weight = await metric.turnBack(elimination.weight())
    const wanted = solve(each, each.weight, rowsBut(8, new Set([0, 3])))
    expect(largest(weight, wanted.weight)).toBeLessThan(1e-8)
  })
})
