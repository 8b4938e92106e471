/** A metric or a cost of a model, beside that of the original where there is one, and how sure it is. */
import type { RunShape } from '../bench/cost.js'
import type { Ratio } from '../bench/statistics.js'
import type { ConditionName, Quantity } from './condition.js'
import { atLeastThree, type Interval, jackknife } from './confidence.js'
import type { Evaluated } from './evaluate.js'

/** One number of a model beside that of the original. */
export interface Compared {
  readonly metric: ConditionName
  readonly shape?: RunShape | undefined
  readonly before: number | undefined
  readonly after: number
  /** Of measurements in pairs, what these say, which is not quite what the two numbers say. */
  measured?(quantity: Quantity): number
  /** 95 % of it; undefined where that can't be told. */
  interval(quantity: Quantity): Interval | undefined
}

/** NaN where the original is missing and asked for. */
export function quantityOf(quantity: Quantity, before: number | undefined, after: number): number {
  if (quantity === 'value') return after
  if (before === undefined) return Number.NaN
  return quantity === 'difference' ? after - before : after / before
}

/** Samples are paired: both models saw the same ones, and what they share takes no part in a change. */
export const comparedMetric = (before: Evaluated | undefined, after: Evaluated): Compared => ({
  metric: after.metric,
  before: before?.value,
  after: after.value,
  interval(quantity) {
    const { count, isCounted } = after.sampled
    if (quantity !== 'value' && before?.sampled.count !== count) return undefined
    const found = jackknife(count, (weights) =>
      quantityOf(quantity, before?.sampled.weighted(weights), after.sampled.weighted(weights)),
    )
    if (!found || !isCounted) return found
    return atLeastThree(found, 1 / count / (quantity === 'share' ? (before?.value ?? 1) : 1))
  },
})

/** What is counted has no noise. */
export const comparedCount = (
  metric: ConditionName,
  before: number | undefined,
  after: number,
): Compared => ({
  metric,
  before,
  after,
  interval(quantity) {
    const exact = quantityOf(quantity, before, after)
    return { low: exact, high: exact }
  },
})

/**
 * What was measured in turns: its change is that of pairs. `before` and `after` are medians. Without an original both
 * are of one model, and their ratio says how much they vary.
 */
export function comparedTurns(
  named: Pick<Compared, 'metric' | 'shape'>,
  {
    before,
    after,
    ratio,
  }: { readonly before: number; readonly after: number; readonly ratio: Ratio },
  hasOriginal: boolean,
): Compared {
  const of = (quantity: Quantity, each: number): number => {
    if (quantity === 'share') return each
    return quantity === 'difference' ? (each - 1) * before : (each / ratio.ratio) * after
  }
  return {
    ...named,
    before: hasOriginal ? before : undefined,
    after,
    measured: (quantity) => of(quantity, ratio.ratio),
    interval: (quantity) => ({ low: of(quantity, ratio.low), high: of(quantity, ratio.high) }),
  }
}
