/**
 * Conditions judged with the noise of what was measured in mind. A condition holds where the whole 95 %
 * interval lies beyond its limit, and does not where none of it does. Between these it is undecided: then
 * a limit on a change passes, since nothing shows that the change is real; a limit on a number goes by
 * the number, which on the same data is always the same, as do changes of too few samples.
 */
import { describeQuality } from '../amounts.js'
import { describeCost, type RunShape } from '../bench/cost.js'
import { AttncError } from '../errors.js'
import { type Compared, quantityOf } from './compared.js'
import { type Condition, type ConditionName, isCost } from './condition.js'
import type { Interval } from './confidence.js'
import type { UndecidedRule } from './undecided.js'

/** A condition beside what was measured. */
export interface Verdict {
  readonly condition: Condition
  readonly before: number | undefined
  readonly after: number
  /** What the condition limits, of `condition.quantity`, and its 95 % interval. */
  readonly measured: number
  readonly interval: Interval | undefined
  readonly result: 'pass' | 'fail' | 'undecided'
  /** Whether the run fails: the condition holds, which must not be. */
  readonly isMissed: boolean
  /** What was found, in words. */
  readonly message: string
}

/** Error: METRIC_UNKNOWN where a metric was not measured. */
export function judge(
  conditions: readonly Condition[],
  found: readonly Compared[],
  rule?: UndecidedRule,
): Verdict[] {
  return conditions.map((condition) => {
    const compared = found.find(
      ({ metric, shape }) => metric === condition.metric && isAlike(shape, condition.shape),
    )
    if (!compared) throw notMeasured(condition)
    return judgeOne(condition, compared, rule)
  })
}

const isAlike = (one: RunShape = {}, other: RunShape): boolean =>
  one.batchSize === other.batchSize && one.sequenceLength === other.sequenceLength

/** Error: METRIC_UNKNOWN. */
export const notMeasured = ({ text, metric }: Condition): AttncError =>
  new AttncError(
    'METRIC_UNKNOWN',
    'usage',
    `The condition "${text}" is on ${metric}, which is not measured.`,
    { suggestions: [`Add --metric ${metric}, or leave --metric away.`] },
  )

function judgeOne(condition: Condition, compared: Compared, rule?: UndecidedRule): Verdict {
  const { quantity, limit, sign } = condition
  const { before, after } = compared
  const measured = compared.measured?.(quantity) ?? quantityOf(quantity, before, after)
  // A metric that is no number has failed whatever was asked.
  const isNumber = !Number.isNaN(measured) && !Number.isNaN(after)
  const interval = isNumber ? compared.interval(quantity) : undefined
  const isBeyond = (value: number): boolean => (sign === '>' ? value > limit : value < limit)
  const isOver = !isNumber || isBeyond(measured)
  const ends = interval ? [interval.low, interval.high] : []
  const isSure = !isNumber || (interval !== undefined && ends.every((e) => isBeyond(e) === isOver))
  const chosen = rule ?? (quantity === 'value' || !interval ? 'measured' : 'pass')
  const isMissed = isSure || chosen === 'measured' ? isOver : chosen === 'fail'
  const result = isSure ? (isOver ? 'fail' : 'pass') : 'undecided'
  const found = { condition, before, after, measured, interval, result, isMissed } as const
  return { ...found, message: describeVerdict(found) }
}

function describeVerdict(verdict: Omit<Verdict, 'message'>): string {
  const { condition, result, isMissed, interval } = verdict
  const is = describeFound(verdict)
  if (result !== 'undecided')
    return `${is}: "${condition.text}" ${isMissed ? 'holds and must not' : 'does not hold'}`
  const why = interval
    ? `the noise reaches over the limit${moreSamples(verdict)}`
    : 'too few samples'
  const then = isMissed ? 'it counts as held, which must not be' : 'it passes'
  return `${is}: "${condition.text}" is undecided (${why}); ${then}`
}

/** `perplexity is 6.980 (6.704 before), +4.1 % (+3.1 to +5.1 %)`. */
function describeFound(verdict: Omit<Verdict, 'message'>): string {
  const { condition, before, after, interval } = verdict
  const { metric, quantity } = condition
  const text = (value: number): string => describeNumber(metric, value)
  const was = before === undefined ? '' : ` (${text(before)} before)`
  if (quantity === 'value') return `${metric} is ${describeMeasured(verdict)}${was}`
  return `${metric} is ${text(after)}${was}${interval ? `, ${describeMeasured(verdict)}` : ''}`
}

const describeNumber = (metric: ConditionName, value: number): string =>
  isCost(metric) ? describeCost[metric](value) : describeQuality(value)

/** How many more samples would tell, where that is no vain hope. */
function moreSamples({ measured, interval, condition }: Omit<Verdict, 'message'>): string {
  if (!interval) return ''
  const distance = Math.abs(measured - condition.limit)
  const times = ((interval.high - interval.low) / 2 / distance) ** 2
  return times < 100 ? `; about ${times.toPrecision(2)} times the samples would tell` : ''
}

/** `+4.1 % (+3.2 to +5.0 %)`. */
export function describeMeasured({
  condition: { metric, quantity },
  measured,
  interval,
}: Pick<Verdict, 'condition' | 'measured' | 'interval'>): string {
  const unit = quantity === 'share' ? ' %' : ''
  const one = (value: number): string => {
    if (quantity === 'value') return describeNumber(metric, value)
    const change = quantity === 'share' ? (value - 1) * 100 : value
    const size = Math.abs(change)
    return `${change < 0 ? '−' : '+'}${quantity === 'share' ? size.toFixed(1) : describeNumber(metric, size)}`
  }
  const isExact = !interval || interval.low === interval.high
  return `${one(measured)}${unit}${isExact ? '' : ` (${one(interval.low)} to ${one(interval.high)}${unit})`}`
}

/** Verdicts as plain JSON. */
export const verdictsJson = (verdicts: readonly Verdict[]) =>
  verdicts.map(({ condition, result, isMissed, before, after, measured, interval, message }) => ({
    condition: condition.text,
    verdict: result,
    missed: isMissed,
    before: before ?? null,
    value: after,
    quantity: condition.quantity,
    measured,
    limit: condition.limit,
    interval: interval ? [interval.low, interval.high] : null,
    message,
  }))

/** Error in the hands of CI: which conditions hold, all of them. */
export class MetricMissed extends AttncError {
  constructor(
    readonly verdicts: readonly Verdict[],
    suggestion: string,
    details: readonly string[] = [],
  ) {
    const missed = verdicts.filter(({ isMissed }) => isMissed)
    super('METRIC_MISSED', 'metric', `${missed.map(({ message }) => message).join('; ')}.`, {
      suggestions: [suggestion],
      report: { conditions: verdictsJson(verdicts) },
      details,
    })
  }
}
