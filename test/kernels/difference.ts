/** How far results are from the reference. */
import { expect } from 'vitest'
import { numbersOf, type RuntimeTensor } from '../../src/onnx/numbers.js'
import { type AttentionCase, tolerance } from './cases.js'

/** Holds results against the reference, within what their type allows. */
export function expectEqual(
  results: readonly RuntimeTensor[],
  expected: readonly RuntimeTensor[],
  { dataType, spread }: Pick<AttentionCase, 'dataType' | 'spread'>,
): void {
  const limit = (tolerance[dataType ?? 'float32'] as number) * (spread ?? 1)
  for (const [index, result] of results.entries())
    expect(
      largestDifference(numbersOf(result), numbersOf(expected[index] as RuntimeTensor)),
    ).toBeLessThan(limit)
}

export function largestDifference(a: ArrayLike<number>, b: ArrayLike<number>): number {
  if (a.length !== b.length) return Number.POSITIVE_INFINITY
  let largest = 0
  for (let index = 0; index < a.length; index++) {
    const [x, y] = [a[index] as number, b[index] as number]
    if (x === y) continue
    const difference = Math.abs(x - y)
    largest = Math.max(largest, Number.isNaN(difference) ? Number.POSITIVE_INFINITY : difference)
  }
  return largest
}
