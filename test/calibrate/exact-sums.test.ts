import fc from 'fast-check'
import { expect, test } from 'vitest'
import { ExactSums } from '../../src/calibrate/exact-sums.js'

/** Numbers of every size that single precision has. */
const single = fc.float({ noNaN: true, noDefaultInfinity: true })
const rows = (width: number) =>
  fc.array(fc.array(single, { minLength: width, maxLength: width }), {
    minLength: 1,
    maxLength: 12,
  })

function sumOf(numbers: readonly (readonly number[])[], width: number): ExactSums {
  const sums = new ExactSums(width)
  for (const row of numbers) for (const [index, value] of row.entries()) sums.add(index, value)
  return sums
}

const bytesOf = ({ high, low, bin }: ExactSums): string =>
  [high, low, bin].map(({ buffer }) => Buffer.from(buffer).toString('hex')).join()

test('any order, split and order of merging gives the same bytes', () => {
  const width = 3
  const property = fc.property(
    rows(width),
    fc.array(fc.nat(3), { minLength: 12, maxLength: 12 }),
    fc.array(fc.nat(), { minLength: 12, maxLength: 12 }),
    (numbers, shards, keys) => {
      const whole = bytesOf(sumOf(numbers, width))
      const shuffled = numbers
        .map((row, index) => ({ row, key: keys[index] as number, shard: shards[index] as number }))
        .sort((a, b) => a.key - b.key)
      expect(
        bytesOf(
          sumOf(
            shuffled.map(({ row }) => row),
            width,
          ),
        ),
      ).toBe(whole)
      const parts = [3, 1, 0, 2].map((shard) =>
        sumOf(
          shuffled.filter((each) => each.shard === shard).map(({ row }) => row),
          width,
        ),
      )
      const [a, b, c, d] = parts as [ExactSums, ExactSums, ExactSums, ExactSums]
      a.merge(b)
      c.merge(d)
      c.merge(a)
      expect(bytesOf(c)).toBe(whole)
    },
  )
  fc.assert(property, { seed: 1, numRuns: 500 })
})

test('many at once are added as one by one, up to the first that is not finite', () => {
  const odd = fc.constantFrom(Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY)
  const property = fc.property(rows(4), fc.nat(4), odd, (numbers, place, what) => {
    const sums = new ExactSums(4)
    for (const row of numbers) expect(sums.addAll(Float32Array.from([0, ...row]), 1, 4, 0)).toBe(-1)
    expect(bytesOf(sums)).toBe(bytesOf(sumOf(numbers, 4)))
    const broken = Float32Array.of(1, 1, 1, 1, 1)
    broken[place] = what
    expect(sums.addAll(broken, 0, 4, 0)).toBe(place < 4 ? place : -1)
  })
  fc.assert(property, { seed: 3, numRuns: 500 })
})

test('a sum is the true one to 36 bits of its largest number', () => {
  const property = fc.property(fc.array(single, { minLength: 1, maxLength: 50 }), (numbers) => {
    const sums = sumOf(
      numbers.map((each) => [each]),
      1,
    )
    // Integers of the smallest unit of single precision: exact.
    const exact = numbers.reduce((sum, each) => sum + BigInt(each * 2 ** 149), 0n)
    const largest = Math.max(...numbers.map(Math.abs))
    const error = Math.abs(Number(BigInt(sums.value(0) * 2 ** 149) - exact) * 2 ** -149)
    expect(error).toBeLessThanOrEqual(largest * numbers.length * 2 ** -36)
  })
  fc.assert(property, { seed: 2, numRuns: 500 })
})

test('numbers that single arithmetic would lose are kept', () => {
  const sums = sumOf([[1e8], [1], [-1e8], [0.5]], 1)
  expect(sums.value(0)).toBe(1.5)
  expect(new ExactSums(2).values()).toEqual(new Float64Array(2))
})
