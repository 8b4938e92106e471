/** Conditions on metrics, as CI states them: `perplexity>+5%`, `accuracy<0.97`, `cosine<0.95`. */
import { AttncError } from '../errors.js'
import { type Measured, type MetricName, metricNames } from './evaluate.js'

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
