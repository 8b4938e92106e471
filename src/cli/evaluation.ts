/** Conditions from the flags, and verdicts as people and CI see them. */
import { type Condition, parseCondition } from '../evaluate/condition.js'
import { describeMeasured, type Verdict } from '../evaluate/verdict.js'
import type { NumericCheck } from '../prune/check.js'
import type { JUnitCase } from './junit.js'
import { table } from './text.js'

/** Error: CONDITION_FORMAT. */
export const readConditions = (texts: readonly string[] = []): Condition[] =>
  texts.map(parseCondition)

export const verdictCases = (verdicts: readonly Verdict[]): JUnitCase[] =>
  verdicts.map(({ condition, result, isMissed, message }) => ({
    name: condition.text,
    result: isMissed ? 'failed' : result === 'undecided' ? 'skipped' : 'passed',
    message,
  }))

export const checkCases = (check: NumericCheck | undefined): JUnitCase[] =>
  check
    ? [{ name: `sliced equals masked within ${check.bound}`, result: 'passed', message: undefined }]
    : []

/** A row for each condition; empty where there are none. */
export function describeVerdicts(verdicts: readonly Verdict[]): string[] {
  if (verdicts.length === 0) return []
  const rows = verdicts.map((verdict) => {
    const { condition, result, isMissed, interval } = verdict
    const then = result === 'undecided' ? `undecided, ${isMissed ? 'fails' : 'passes'}` : result
    return [condition.text, describeMeasured(verdict), then, interval ? '' : 'too few samples']
  })
  return [...table(['fails if', 'measured (95 % interval)', 'verdict', ''], rows), '']
}
