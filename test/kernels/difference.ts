/** How far results are from the reference. */
import { expect } from 'vitest'
import { numbersOf, type RuntimeTensor } from '../../src/onnx/numbers.js'
import { type AttentionCase, tolerance } from './cases.js'
import { largestDifference } from './largest-difference.js'

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
