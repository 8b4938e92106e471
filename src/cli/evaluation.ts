/** What is to be measured and when that fails the run, from the flags. */
import type { Batch } from '../data/batch.js'
import { AttncError } from '../errors.js'
import { type Condition, parseCondition, type Verdict } from '../evaluate/condition.js'
import type { MetricName } from '../evaluate/metric-name.js'
import type { NumericCheck } from '../prune/check.js'
import type { JUnitCase } from './junit.js'

export interface Evaluation {
  readonly batches: readonly Batch[]
  readonly metrics: readonly MetricName[]
  readonly failIf: readonly Condition[]
}

/** Error: EVAL_DATA_MISSING where conditions are given and no data. */
export function readConditions(texts: readonly string[] = [], hasData: boolean): Condition[] {
  const conditions = texts.map(parseCondition)
  if (conditions.length > 0 && !hasData)
    throw new AttncError(
      'EVAL_DATA_MISSING',
      'usage',
      '--fail-if needs something to measure on, and no data was given for that.',
      { suggestions: ['Add --eval FILE.'] },
    )
  return conditions
}

export const verdictCases = (verdicts: readonly Verdict[]): JUnitCase[] =>
  verdicts.map(({ condition, isMissed, message }) => ({
    name: condition.text,
    failure: isMissed ? message : undefined,
  }))

export const checkCases = (check: NumericCheck | undefined): JUnitCase[] =>
  check ? [{ name: `sliced equals masked within ${check.bound}`, failure: undefined }] : []
