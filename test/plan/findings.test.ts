/** What passes saw travels in their plan, stays small, and is refused where it was damaged. */
import { describe, expect, it } from 'vitest'
import { type Findings, sensitivityOf, thinned } from '../../src/plan/findings.js'
import { parsePlan, planJson } from '../../src/plan/plan-json.js'

describe('findings', () => {
  it('come back from the JSON of a plan of one part and of several', () => {
    const findings: Findings = {
      measure: 'squared error',
      sensitivity: [
        sensitivityOf('layer.0.width', 512, { order: [3, 1], errors: [0.123456, 0.5] }),
        {
          ...sensitivityOf('layer.0.keyValueHeads', 4, { order: [3, 1], errors: [1, 2] }),
          saved: [0.1, 0.15],
        },
      ],
      training: { curve: [{ update: 1, training: 2, heldOut: 3 }], updates: 1 },
    }
    const part = { pass: 'amp', options: {}, slices: [], findings }
    for (const parts of [[part], [part, { ...part, pass: 'recover' }]]) {
      const json = JSON.parse(JSON.stringify(planJson({ parts, made: { by: 'attnc' } })))
      expect(parsePlan(json, 'test').parts).toEqual(parts)
    }
  })

  it('keep few points of a wide dimension, the last among them, and no order', () => {
    const errors = Array.from({ length: 5000 }, (_, at) => at + 1)
    const found = sensitivityOf('layer.0.width', 6000, { order: errors, errors })
    expect(found.gone?.length).toBeLessThanOrEqual(24)
    expect(found.gone?.at(-1)).toBe(5000)
    expect(found.errors?.at(-1)).toBe(5000)
    expect(found.order).toBeUndefined()
  })

  it('keep the last point of a long curve', () => {
    const curve = Array.from({ length: 1234 }, (_, at) => at)
    const few = thinned(curve, 100)
    expect(few.length).toBeLessThanOrEqual(100)
    expect(few.at(-1)).toBe(1233)
  })

  it.each([
    ['no object', 3],
    ['errors without their places', { sensitivity: [{ dimension: 'a', units: 2, errors: [1] }] }],
    [
      'times of other places',
      { sensitivity: [{ dimension: 'a', units: 2, gone: [1], errors: [1], saved: [1, 2] }] },
    ],
    ['a curve of words', { training: { updates: 1, curve: ['a'] } }],
    ['a number that is a text', { sensitivity: [{ dimension: 'a', units: '2' }] }],
  ])('are refused as %s', (_, findings) => {
    const plan = { format: 1, slices: [], findings }
    expect(() => parsePlan(plan, 'plan.json')).toThrow(/findings/)
  })
})
