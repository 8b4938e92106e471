/** Counts: those of the published code, and budgets that are met to half a unit. */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { paperCounts, roundHalfEven } from '../../passes/amp/uniform.js'
import { allocate, removedParameters } from '../../src/repair/allocate.js'
import type { Choice, PrunableBlock } from '../../src/repair/prunable.js'

/** A choice of so many units; what allocation doesn't read is left out. */
const choiceOf = (units: number, parametersPerUnit: number): Choice =>
  ({
    block: { kind: 'feedForward', choices: [] as readonly Choice[] } as unknown as PrunableBlock,
    units: Array.from({ length: units }, (_, unit) => ({ members: [unit], rows: [unit] })),
    parametersPerUnit,
    frame: undefined,
  }) as unknown as Choice

describe('counts of the published code', () => {
  it.each([
    [0.5, 0],
    [1.5, 2],
    [2.5, 2],
    [3.5, 4],
    [2.4, 2],
    [2.6, 3],
  ])('rounds %f to %i, ties to even', (value, rounded) => {
    expect(roundHalfEven(value)).toBe(rounded)
  })

  // LLaMA-2-7B (d 4096, H 32, I 11008): k layers' worth of parameters off the prunable part.
  const layer = 202_383_360
  const prunable = 32 * (4 * 4096 * 4096 + 3 * 4096 * 11_008)
  it.each([
    [1, 1, 344],
    [5, 5, 1720],
    [7, 7, 2408],
    [10, 10, 3440],
    [16, 16, 5504],
  ])('takes from LLaMA-2-7B at k = %i %i heads and %i neurons', (k, heads, neurons) => {
    expect(paperCounts(32, 11_008, (k * layer) / prunable)).toEqual({ heads, neurons })
  })

  it('gives the neurons what rounding heads took, counted in heads', () => {
    // 0.2 · 12 = 2.4 heads: 2 go, and 0.4 of a neuron is added to 0.2 · 1000.
    expect(paperCounts(12, 1000, 0.2)).toEqual({ heads: 2, neurons: 200 })
    expect(paperCounts(9, 1000, 0.2)).toEqual({ heads: 2, neurons: 200 })
    expect(paperCounts(7, 1001, 0.2)).toEqual({ heads: 1, neurons: 201 })
  })

  it('keeps one head and one neuron', () => {
    expect(paperCounts(2, 4, 0.99)).toEqual({ heads: 1, neurons: 3 })
  })
})

describe('a shared budget', () => {
  const curves = fc.array(
    fc.record({
      parameters: fc.integer({ min: 1, max: 50 }),
      steps: fc.array(fc.double({ min: 0.01, max: 9, noNaN: true }), {
        minLength: 2,
        maxLength: 30,
      }),
    }),
    { minLength: 1, maxLength: 6 },
  )

  it('is met within half of the largest unit, and no curve is overrun', () => {
    fc.assert(
      fc.property(curves, fc.double({ min: 0.05, max: 0.7, noNaN: true }), (made, ratio) => {
        const all = made.map(({ parameters, steps }) => {
          let sum = 0
          // Rising costs: the hull is the curve itself.
          const errors = [...steps].sort((a, b) => a - b).map((step) => (sum += step))
          return { choice: choiceOf(steps.length + 1, parameters), errors }
        })
        const possible = all.reduce(
          (sum, { choice, errors }) => sum + choice.parametersPerUnit * errors.length,
          0,
        )
        const counts = allocate(all, possible * ratio)
        const largest = Math.max(...made.map(({ parameters }) => parameters))
        expect(Math.abs(removedParameters(counts) - possible * ratio)).toBeLessThanOrEqual(
          largest / 2,
        )
        for (const { choice, errors } of all)
          expect(counts.get(choice)).toBeLessThanOrEqual(errors.length)
      }),
      { numRuns: 200, seed: 3 },
    )
  })

  it('leaves multiples where it is asked to, within half a step of the budget', () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 20, max: 120 }), { minLength: 1, maxLength: 6 }),
        fc.integer({ min: 2, max: 16 }),
        fc.double({ min: 0.1, max: 0.6, noNaN: true }),
        (sizes, roundTo, ratio) => {
          const all = sizes.map((size, curve) => ({
            choice: choiceOf(size, 7),
            errors: Array.from({ length: size - 1 }, (_, i) => (i + 1) ** 2 * (curve + 1)),
          }))
          const budget = 7 * ratio * sizes.reduce((sum, size) => sum + size, 0)
          const counts = allocate(all, budget, roundTo)
          for (const [{ units }, count] of counts)
            if (count > 0) expect((units.length - count) % roundTo).toBe(0)
          // The first step of a width that is no multiple is smaller, so more never is needed.
          expect(Math.abs(removedParameters(counts) - budget)).toBeLessThanOrEqual(
            (7 * roundTo) / 2,
          )
        },
      ),
      { numRuns: 200, seed: 5 },
    )
  })

  it('takes the cheaper curve first', () => {
    const [cheap, dear] = [choiceOf(5, 10), choiceOf(5, 10)]
    const counts = allocate(
      [
        { choice: cheap, errors: [1, 2, 3, 4] },
        { choice: dear, errors: [5, 10, 15, 20] },
      ],
      30,
    )
    expect([counts.get(cheap), counts.get(dear)]).toEqual([3, 0])
  })
})
