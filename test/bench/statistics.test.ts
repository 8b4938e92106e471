/** Medians, quartiles and ratios of pairs, and turns that are taken in order. */
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { interleave, leastRuns } from '../../src/bench/interleave.js'
import { pairedRatio, quantile, spreadOf } from '../../src/bench/statistics.js'

test.each([
  [[1, 2, 3, 4, 5], 0.5, 3],
  [[1, 2, 3, 4], 0.5, 2.5],
  [[1, 2, 3, 4, 5], 0.25, 2],
  [[10], 0.9, 10],
])('of %j the quantile %d is %d', (numbers, share, expected) => {
  expect(quantile(numbers, share)).toBeCloseTo(expected, 12)
})

const times = fc.array(fc.double({ min: 0.1, max: 100, noNaN: true }), {
  minLength: 5,
  maxLength: 30,
})

test('a spread is in order and does not depend on the order of the runs', () => {
  fc.assert(
    fc.property(times, (values) => {
      const { least, firstQuartile, median, thirdQuartile, most, runs } = spreadOf(values)
      const order = [least, firstQuartile, median, thirdQuartile, most]
      expect(order).toEqual(order.toSorted((a, b) => a - b))
      expect(runs).toBe(values.length)
      expect(spreadOf(values.toReversed())).toEqual(spreadOf(values))
    }),
    { seed: 1 },
  )
})

test('what is always k times slower has the ratio k and no doubt about it', () => {
  fc.assert(
    fc.property(times, fc.double({ min: 0.25, max: 4, noNaN: true }), (values, k) => {
      const slower = values.map((value) => value * k)
      const { ratio, low, high } = pairedRatio(values, slower, 1)
      for (const each of [ratio, low, high]) expect(each).toBeCloseTo(k, 9)
    }),
    { seed: 2, numRuns: 20 },
  )
})

test('the interval holds the ratio, and the same seed gives the same interval', () => {
  fc.assert(
    fc.property(times, fc.nat(), (values, seed) => {
      const other = values.toReversed()
      const found = pairedRatio(values, other, seed)
      expect(found.low).toBeLessThanOrEqual(found.ratio)
      expect(found.high).toBeGreaterThanOrEqual(found.ratio)
      expect(pairedRatio(values, other, seed)).toEqual(found)
    }),
    { seed: 3, numRuns: 20 },
  )
})

test('two take turns, and what warms up is not counted', async () => {
  const order: string[] = []
  const run = (name: string) => async (): Promise<number> => order.push(name)
  const found = await interleave([run('a'), run('b')], { runs: 3, seconds: 60, warmUp: 1 })
  expect(order.join('')).toBe('abababab')
  expect(found).toEqual([
    [3, 5, 7],
    [4, 6, 8],
  ])
})

test('when time is up, a few turns are taken all the same', async () => {
  const [found] = await interleave([async () => 1], { runs: 100, seconds: 0, warmUp: 0 })
  expect(found?.length).toBe(leastRuns)
})
