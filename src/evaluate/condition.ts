/** Conditions on metrics, as CI states them: `perplexity>+5%`, `accuracy<0.97`, `cosine<0.95`. */
import { AttncError } from '../errors.js'
import type { Measured } from './evaluate.js'
import { type MetricName, metricNames } from './metric-name.js'

export interface Condition {
  readonly text: string
  readonly metric: MetricName
  readonly sign: '<' | '>'
  readonly limit: number
  /** The limit is a change: a difference, or a share where `isPercent`. */
  readonly isRelative: boolean
  readonly isPercent: boolean
}

/** Error: CONDITION_FORMAT. */
export function parseCondition(text: string): Condition {
  const match = /^\s*([a-z0-9@-]+?)\s*([<>])\s*([+-]?)(\d+(?:\.\d+)?)\s*(%?)\s*$/.exec(text)
  const metric = metricNames.find((name) => name === match?.[1])
  if (!match || !metric)
    throw new AttncError(
      'CONDITION_FORMAT',
      'usage',
      `"${text}" is no condition: a metric, < or >, a number. Metrics: ${metricNames.join(', ')}.`,
      { suggestions: ["For instance 'perplexity>+5%' or 'accuracy<0.97'."] },
    )
  const [, , sign, direction, number, percent] = match
  return {
    text,
    metric,
    sign: sign as '<' | '>',
    limit: (direction === '-' ? -1 : 1) * Number(number),
    isRelative: direction !== '' || percent === '%',
    isPercent: percent === '%',
  }
}

/** Whether the condition holds: the run then fails. `before` serves relative limits. */
export function holds(
  condition: Condition,
  before: Measured | undefined,
  after: Measured,
): boolean {
  const { limit, isRelative, isPercent, sign } = condition
  const base = before?.value ?? Number.NaN
  const bound = !isRelative ? limit : isPercent ? base * (1 + limit / 100) : base + limit
  // A metric that is no number has failed whatever was asked.
  if (Number.isNaN(after.value) || Number.isNaN(bound)) return true
  return sign === '>' ? after.value > bound : after.value < bound
}

/** A condition beside what was measured. */
export interface Verdict {
  readonly condition: Condition
  /** Whether the condition holds, which is what must not be. */
  readonly isMissed: boolean
  /** What was found, in words. */
  readonly message: string
}

/** Verdicts as plain JSON. */
export const verdictsJson = (verdicts: readonly Verdict[]) =>
  verdicts.map(({ condition, isMissed, message }) => ({
    condition: condition.text,
    missed: isMissed,
    message,
  }))

/** Error in the hands of CI: which conditions hold, all of them. */
export class MetricMissed extends AttncError {
  constructor(
    readonly verdicts: readonly Verdict[],
    suggestion: string,
  ) {
    const missed = verdicts.filter(({ isMissed }) => isMissed)
    super('METRIC_MISSED', 'metric', `${missed.map(({ message }) => message).join('; ')}.`, {
      suggestions: [suggestion],
      report: { conditions: verdictsJson(verdicts) },
    })
  }
}

/** Every condition judged. Error: METRIC_UNKNOWN where its metric was not measured. */
export function judge(
  conditions: readonly Condition[],
  measured: readonly { readonly before: Measured | undefined; readonly after: Measured }[],
): Verdict[] {
  return conditions.map((condition) => {
    const found = measured.find(({ after }) => after.metric === condition.metric)
    if (!found)
      throw new AttncError(
        'METRIC_UNKNOWN',
        'usage',
        `The condition "${condition.text}" is on ${condition.metric}, which was not measured.`,
        { suggestions: [`Add --metric ${condition.metric}, or leave --metric away.`] },
      )
    const isMissed = holds(condition, found.before, found.after)
    const was = found.before ? ` (${found.before.value.toPrecision(5)} before)` : ''
    const is = `${condition.metric} is ${found.after.value.toPrecision(5)}${was}`
    const verdict = isMissed ? 'holds and must not' : 'does not hold'
    return { condition, isMissed, message: `${is}: "${condition.text}" ${verdict}` }
  })
}
