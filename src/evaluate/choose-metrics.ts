/** Which metrics are measured, and whether they and the conditions can be: settled before any long work. */
import type { Batch } from '../data/batch.js'
import { AttncError } from '../errors.js'
import type { Model } from '../graph/graph.js'
import { type Condition, isCost } from './condition.js'
import { checkMetrics, defaultMetric } from './evaluate.js'
import { isComparing, type MetricName } from './metric-name.js'
import { notMeasured } from './verdict.js'

export interface MetricChoice {
  /** Empty where there are no data: then only costs can be asked for. */
  readonly batches: readonly Batch[]
  /** Empty: what fits the model and the data, and what conditions are on. */
  readonly asked: readonly MetricName[]
  readonly conditions: readonly Condition[]
  readonly hasReference: boolean
}

/** Errors: METRIC_UNKNOWN, CONDITION_ALONE, EVAL_DATA_MISSING and those of `checkMetrics`. */
export function chooseMetrics(model: Model, choice: MetricChoice): MetricName[] {
  const { batches, asked, conditions, hasReference } = choice
  for (const condition of conditions) checkCondition(condition, choice)
  if (batches.length === 0) return []
  const wanted = conditions.flatMap(({ metric }) => (isCost(metric) ? [] : [metric]))
  const metrics =
    asked.length > 0 ? asked : [defaultMetric(model, batches, hasReference), ...wanted]
  checkMetrics(model, { batches, metrics, hasReference })
  return [...new Set(metrics)]
}

function checkCondition(
  condition: Condition,
  { batches, asked, hasReference }: MetricChoice,
): void {
  const { metric, quantity, text } = condition
  const isQuality = !isCost(metric)
  if (isQuality && batches.length === 0)
    throw new AttncError(
      'EVAL_DATA_MISSING',
      'usage',
      `"${text}" needs something to measure ${metric} on, and no data was given for that.`,
      { suggestions: ['Add --eval FILE.'] },
    )
  if (isQuality && asked.length > 0 && !asked.includes(metric)) throw notMeasured(condition)
  if (quantity === 'value') return
  if (!hasReference)
    throw new AttncError(
      'CONDITION_ALONE',
      'usage',
      `"${text}" is on a change, and there is no original to compare with.`,
      { suggestions: ['Give it with --reference, or state the limit as a number.'] },
    )
  if (isQuality && isComparing(metric))
    throw new AttncError(
      'CONDITION_ALONE',
      'usage',
      `"${text}" is on a change, and ${metric} compares with the original already.`,
      { suggestions: [`State the limit as a number, for instance '${metric}<0.95'.`] },
    )
}
