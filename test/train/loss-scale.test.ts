import { describe, expect, it } from 'vitest'
import { generator } from '../../src/data/generator.js'
import { numbersOf, type RuntimeTensor } from '../../src/onnx/numbers.js'
import { LossScale, SCALE } from '../../src/train/loss-scale.js'

const scaling = { initial: 2 ** 16, interval: 200 }

/** The scale after batches that are sound up to the scales given. */
function after(limits: readonly number[], scale = new LossScale(scaling)) {
  let [steps, leftOut] = [0, 0]
  for (const limit of limits) {
    const tried = scale.tries.findIndex((each) => each <= limit)
    const worked = scale.tries[tried]
    steps += worked === undefined ? scale.tries.length : tried + 1
    if (worked !== undefined) scale.worked(worked)
    else {
      leftOut++
      if (!scale.failed()) return { scale, steps, leftOut, isOver: true }
    }
  }
  return { scale, steps, leftOut, isOver: false }
}

const at = (scale: LossScale): number => scale.tries[0] as number

describe('the scale of a loss', () => {
  it('is doubled after so many sound steps', () => {
    expect(at(after(Array(199).fill(2 ** 30)).scale)).toBe(2 ** 16)
    expect(at(after(Array(200).fill(2 ** 30)).scale)).toBe(2 ** 17)
  })

  it('falls to what all batches bear, and leaves none of them out where eight halvings do', () => {
    const found = after(Array(60).fill(2 ** 9))
    expect(at(found.scale)).toBeGreaterThanOrEqual(2 ** 8)
    expect(at(found.scale)).toBeLessThanOrEqual(2 ** 10)
    expect(found.leftOut).toBe(0)
  })

  it('falls however far it has to', () => {
    const found = after(Array(80).fill(2 ** -8))
    expect(at(found.scale)).toBeLessThanOrEqual(2 ** -7)
    expect(found.leftOut).toBeLessThan(10)
  })

  it('stays where single batches bear less, or nothing at all', () => {
    const random = generator(4)
    for (const outlier of [2 ** 11, 0]) {
      const limits = Array.from({ length: 3000 }, () => (random() < 1 / 30 ? outlier : 2 ** 18))
      const found = after(limits)
      expect(found.isOver).toBe(false)
      expect(Math.log2(at(found.scale))).toBeGreaterThan(8)
      // Batches that bear less count all the same.
      if (outlier > 0) expect(found.leftOut).toBe(0)
      expect(found.steps).toBeLessThan(1.5 * limits.length)
    }
  })

  it('ends a run of which nothing is finite any more', () => {
    const found = after(Array(100).fill(0))
    expect(found).toMatchObject({ isOver: true, leftOut: 10 })
  })

  it('goes on from what a checkpoint holds', () => {
    const { scale } = after([...Array(150).fill(2 ** 30)])
    const again = new LossScale(scaling, scale.vectors)
    expect(numbersOf(again.vectors[SCALE] as RuntimeTensor)[0]).toBe(2 ** 16)
    expect(at(after(Array(50).fill(2 ** 30), again).scale)).toBe(2 ** 17)
  })
})
