/** Conditions: how they are read, and that noise neither trips nor hides them. */
import { describe, expect, test } from 'vitest'
import { generator } from '../../src/data/generator.js'
import {
  type Compared,
  comparedCount,
  comparedMetric,
  comparedTurns,
} from '../../src/evaluate/compared.js'
import { parseCondition } from '../../src/evaluate/condition.js'
import { jackknife, studentQuantile } from '../../src/evaluate/confidence.js'
import type { MetricName } from '../../src/evaluate/metric-name.js'
import { areaOf, meanOf, perplexityOf, type Sampled } from '../../src/evaluate/sampled.js'
import type { UndecidedRule } from '../../src/evaluate/undecided.js'
import { judge } from '../../src/evaluate/verdict.js'

const evaluated = (metric: MetricName, sampled: Sampled) => ({
  metric,
  value: sampled.weighted(new Array(sampled.count).fill(1)),
  samples: sampled.count,
  sampled,
})

const judged = (text: string, compared: Compared, rule?: UndecidedRule) => {
  const [verdict] = judge([parseCondition(text)], [compared], rule)
  if (!verdict) throw new TypeError('a condition has a verdict')
  return verdict
}

/** About normal: a sum of twelve. */
function noise(seed: number): () => number {
  const next = generator(seed)
  return () => Array.from({ length: 12 }, next).reduce((sum, each) => sum + each, -6)
}

describe('a condition', () => {
  test.each([
    ['perplexity>20', 'value', 20],
    ['perplexity>+5%', 'share', 1.05],
    ['perplexity > 5%', 'share', 1.05],
    ['perplexity>1.05x', 'share', 1.05],
    ['accuracy<-0.01', 'difference', -0.01],
    ['ndcg@10<-2%', 'share', 0.98],
    ['size>50MB', 'value', 5e7],
    ['params>-20%', 'share', 0.8],
    ['latency>12ms', 'value', 12],
    ['throughput<+1k/s', 'difference', 1000],
  ])('is read: %s', (text, quantity, limit) => {
    const condition = parseCondition(text)
    expect(condition).toMatchObject({ text, quantity })
    expect(condition.limit).toBeCloseTo(limit, 12)
  })

  test('has the shape of what is timed', () => {
    const { shape } = parseCondition('latency>0.8x@batch=2,seq=64')
    expect(shape).toEqual({ batchSize: 2, sequenceLength: 64 })
  })

  test.each([
    ...['', 'perplexity', 'speed>3', 'perplexity=3', 'perplexity>x', 'perplexity>5%%'],
    ...['accuracy<97%', 'perplexity>+2x', 'perplexity>3ms', 'size>3', 'perplexity>3@seq=4'],
    ...['latency>3ms@seq=0', 'latency>', 'perplexity>1e'],
  ])('is refused: "%s"', (text) => {
    expect(() => parseCondition(text)).toThrow(
      expect.objectContaining({ code: 'CONDITION_FORMAT', kind: 'usage' }),
    )
  })
})

describe('an interval', () => {
  test('of a mean is that of Student', () => {
    expect([7, 29, 199].map((f) => Number(studentQuantile(f).toFixed(2)))).toEqual([
      2.36, 2.05, 1.97,
    ])
    const values = Array.from({ length: 30 }, noise(1))
    const mean = values.reduce((sum, each) => sum + each, 0) / 30
    const spread = Math.sqrt(values.reduce((sum, each) => sum + (each - mean) ** 2, 0) / 29 / 30)
    const found = jackknife(30, (weights) => meanOf(values).weighted(weights))
    expect(found?.low).toBeCloseTo(mean - 2.0452 * spread, 3)
    expect(found?.high).toBeCloseTo(mean + 2.0452 * spread, 3)
  })

  test.each([10, 40, 500])('of 95 %% holds the truth that often, %d samples', (count) => {
    const rounds = 400
    let held = 0
    for (let round = 0; round < rounds; round++) {
      const next = noise(round + 7)
      // The second model is 5 % worse on hard and easy samples alike.
      const losses = Array.from({ length: count }, () => 20 + 5 * next())
      const tokens = losses.map((_, i) => 10 + (i % 3))
      const worse = losses.map((loss, i) => loss + (tokens[i] as number) * Math.log(1.05) + next())
      const [before, after] = [losses, worse].map((each) =>
        evaluated('perplexity', perplexityOf(each, tokens)),
      )
      const found = after && comparedMetric(before, after).interval('share')
      if (found && found.low <= 1.05 && found.high >= 1.05) held++
    }
    // 400 draws of 95 %: two thirds of a percent wide, three times.
    expect(held / rounds).toBeGreaterThan(0.915)
    expect(held / rounds).toBeLessThan(0.985)
  })

  test('of right and wrong answers knows that three more may differ', () => {
    const all = evaluated('accuracy', meanOf(new Array(100).fill(1), true))
    expect(comparedMetric(undefined, all).interval('value')).toEqual({ low: 0.97, high: 1.03 })
    expect(comparedMetric(all, all).interval('difference')).toEqual({ low: -0.03, high: 0.03 })
  })

  test('is missing where there are too few samples, or too few of a class', () => {
    expect(jackknife(7, () => 1)).toBeUndefined()
    const labels = [1, 0, 0, 0, 0, 0, 0, 0, 0]
    const area = areaOf([...labels.keys()], labels)
    expect(jackknife(9, (weights) => area.weighted(weights))).toBeUndefined()
  })
})

describe('a verdict', () => {
  const next = noise(3)
  const values = Array.from({ length: 400 }, () => 0.8 + 0.1 * next())
  const before = evaluated('ndcg@10', meanOf(values))
  const shifted = (by: number, spread: number) =>
    comparedMetric(
      before,
      evaluated('ndcg@10', meanOf(values.map((each) => each + by + spread * next()))),
    )

  test('on a change is as sharp as what differs, however much samples vary', () => {
    expect(judged('ndcg@10<-0.01', shifted(-0.012, 0.01))).toMatchObject({
      result: 'fail',
      isMissed: true,
    })
    expect(judged('ndcg@10<-0.01', shifted(-0.008, 0.01))).toMatchObject({
      result: 'pass',
      isMissed: false,
    })
    // The number alone varies by as much again as the samples do.
    expect(judged('ndcg@10<0.795', shifted(-0.008, 0.01)).result).toBe('undecided')
  })

  test.each([
    [undefined, false],
    ['pass', false],
    ['fail', true],
    ['measured', true],
  ] as const)('is undecided within the noise; rule %s', (rule, isMissed) => {
    const verdict = judged('ndcg@10<-0.01', shifted(-0.0105, 0.1), rule)
    expect(verdict).toMatchObject({ result: 'undecided', isMissed })
    expect(verdict.message).toContain('the noise reaches over the limit')
  })

  test('on a number goes by the number where it is undecided', () => {
    expect(judged('ndcg@10<0.795', shifted(-0.008, 0.01)).isMissed).toBe(true)
    expect(judged('ndcg@10<0.785', shifted(-0.008, 0.01)).isMissed).toBe(false)
    const few = evaluated('accuracy', meanOf([1, 1, 0], true))
    const verdict = judged('accuracy<-1%', comparedMetric(few, few))
    expect(verdict).toMatchObject({ result: 'undecided', isMissed: false, interval: undefined })
    expect(verdict.message).toContain('too few samples')
  })

  test('on what is counted is never undecided', () => {
    const compared = comparedCount('size', 100, 90)
    expect(judged('size>-10%', compared)).toMatchObject({ result: 'pass', isMissed: false })
    expect(judged('size>89B', compared)).toMatchObject({ result: 'fail', isMissed: true })
    expect(judged('size>-11B', compared).message).toBe(
      'size is 90 B (100 B before), −10 B: "size>-11B" holds and must not',
    )
  })

  test('on what is no number is a failure', () => {
    expect(judged('size<3B', comparedCount('size', 1, Number.NaN)).isMissed).toBe(true)
    expect(judged('size>+5%', comparedCount('size', undefined, 1)).isMissed).toBe(true)
  })

  test('is refused where nothing was measured', () => {
    expect(() => judge([parseCondition('cosine<0.9')], [])).toThrow(
      expect.objectContaining({ code: 'METRIC_UNKNOWN' }),
    )
  })
})

describe('what was measured in turns', () => {
  // Medians of all turns say 0.86, those of pairs 0.82.
  const pair = { before: 100, after: 86, ratio: { ratio: 0.82, low: 0.8, high: 0.84 } }
  const turns = (hasOriginal: boolean): Compared =>
    comparedTurns({ metric: 'latency' }, pair, hasOriginal)

  test.each([
    ['latency>0.85x', 0.82, 'pass'],
    ['latency>-15ms', -18, 'pass'],
    ['latency>-25ms', -18, 'fail'],
    ['latency>86ms', 86, 'undecided'],
  ])('has a change within its interval: %s', (text, measured, result) => {
    const verdict = judged(text, turns(true))
    expect(verdict.measured).toBeCloseTo(measured, 12)
    expect(verdict.interval?.low).toBeLessThan(verdict.measured)
    expect(verdict.interval?.high).toBeGreaterThan(verdict.measured)
    expect(verdict.result).toBe(result)
  })

  test('is compared with nothing where there is no original', () => {
    expect(judged('latency>80ms', turns(false))).toMatchObject({ before: undefined, after: 86 })
  })
})
