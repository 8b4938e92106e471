/**
 * Conditions as CI states them: `perplexity>+5%`, `accuracy<0.97`, `latency>-20%@seq=128`, `size>50MB`. A
 * leading sign makes a limit a change against the original.
 */
import {
  type CostName,
  costNames,
  isMeasured,
  parseAmount,
  parseShape,
  type RunShape,
} from '../bench/cost.js'
import { AttncError } from '../errors.js'
import { type MetricName, metricNames } from './metric-name.js'

export type ConditionName = MetricName | CostName

/** The number itself, its difference from the original's, or its share of that. */
export type Quantity = 'value' | 'difference' | 'share'

/** A limit to a metric or a cost. */
export interface Condition {
  readonly text: string
  readonly metric: ConditionName
  readonly sign: '<' | '>'
  /** What is limited. */
  readonly quantity: Quantity
  readonly limit: number
  /** On which something is timed. */
  readonly shape: RunShape
}

export const isCost = (name: ConditionName): name is CostName =>
  costNames.some((each) => each === name)

/** Error: CONDITION_FORMAT. */
export function parseCondition(text: string): Condition {
  const [, name, sign, typed, shapes] =
    /^\s*([a-z0-9@-]+?)\s*([<>])\s*([^@]+?)\s*(?:@(.*))?$/.exec(text) ?? []
  const metric = [...metricNames, ...costNames].find((each) => each === name)
  if (!metric || !sign || !typed) throw unreadable(text, 'it is a metric, < or >, a number')
  const amount = isCost(metric) ? parseAmount(metric, typed) : parseNumber(typed)
  if (typeof amount === 'string') throw unreadable(text, amount)
  const shape = shapes === undefined ? {} : parseShape(shapes)
  if (typeof shape === 'string') throw unreadable(text, shape)
  if (shapes !== undefined && !(isCost(metric) && isMeasured(metric)))
    throw unreadable(text, 'only latency, throughput and memory have a shape')
  const isSigned = /^[+-]/.test(typed)
  const { number, unit } = amount
  if (unit === 'x' && (isSigned || number <= 0))
    throw unreadable(text, 'a multiple is above 0 and has no sign')
  if (unit === '%' && !isSigned && sign === '<')
    throw unreadable(text, 'a fall is written -3%, and a share as a number, 0.97')
  const common = { text, metric, sign: sign as '<' | '>', shape }
  if (unit === 'x') return { ...common, quantity: 'share', limit: number }
  if (unit === '%') return { ...common, quantity: 'share', limit: 1 + number / 100 }
  return { ...common, quantity: isSigned ? 'difference' : 'value', limit: number }
}

function parseNumber(text: string): { number: number; unit: 'x' | '%' | 'absolute' } | string {
  const match = /^([+-]?(?:\d+\.?\d*|\.\d+))\s*(%|x|×|)$/.exec(text)
  if (!match) return `"${text}" is no number`
  const unit = match[2] === '%' ? '%' : match[2] ? 'x' : 'absolute'
  return { number: Number(match[1]), unit }
}

const unreadable = (text: string, what: string): AttncError =>
  new AttncError(
    'CONDITION_FORMAT',
    'usage',
    `"${text}" is no condition: ${what}. Metrics: ${[...metricNames, ...costNames].join(', ')}.`,
    { suggestions: ["For instance 'perplexity>+5%', 'accuracy<0.97' or 'latency>0.8x'."] },
  )
