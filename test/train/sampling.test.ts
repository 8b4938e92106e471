/** Samples of models that are fed something once for all of them, as what chooses a branch. */
import { describe, expect, it } from 'vitest'
import type { Batch } from '../../src/data/batch.js'
import { tensorOf } from '../../src/onnx/numbers.js'
import { holdOut } from '../../src/train/held-out.js'
import { canMix, sampler, samplesOf } from '../../src/train/sampling.js'

/** Rows of two tokens, the switch first or last. */
const batchOf = (rows: number, from: number, choice: number, isFirst = true): Batch => {
  const ids = Array.from({ length: rows }, (_, row) => [from + row, from + row])
  const tokens = { ids: tensorOf('int64', [rows, 2], ids.flat()) }
  const use = { use: tensorOf('bool', [1], [choice]) }
  const feeds = isFirst ? { ...use, ...tokens } : { ...tokens, ...use }
  return { feeds, ids, tokenMask: undefined }
}

describe('a switch beside the samples', () => {
  it.each([true, false])('does not keep them from being mixed (first: %s)', (isFirst) => {
    const batches = [batchOf(4, 0, 0, isFirst), batchOf(3, 4, 0, isFirst)]
    expect(samplesOf(batches)).toHaveLength(7)
    const drawn = sampler(batches, 5, 1)(0)
    expect(drawn.feeds['ids']?.dims).toEqual([5, 2])
    expect(drawn.feeds['use']?.dims).toEqual([1])
    expect(new Set(drawn.ids.map(([id]) => id)).size).toBe(5)
  })

  it('leaves one batch of many samples enough to learn from and to be judged by', () => {
    const { training, heldOut } = holdOut({ batches: [batchOf(10, 0, 0)] })
    expect(training).toHaveLength(9)
    expect(heldOut[0]?.ids).toEqual([[9, 9]])
  })

  it('does where batches say it differently', () => {
    expect(canMix([batchOf(4, 0, 0), batchOf(4, 4, 1)])).toBe(false)
  })
})

it('leaves batches whole that a model takes no fewer samples of', () => {
  const batches = [0, 4, 8].map((from) => ({ ...batchOf(4, from, 0), isWhole: true }))
  expect(sampler(batches, 7, 1)(0).ids).toHaveLength(4)
  const { training, heldOut } = holdOut({ batches })
  expect([training, heldOut].map((each) => each.map(({ ids }) => ids.length))).toEqual([
    [4, 4],
    [4],
  ])
})
