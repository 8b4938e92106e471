/** Targets that can't be met, or are met already; each error says how near one can come. */
import { isGain } from '../bench/cost.js'
import { AttncError } from '../errors.js'
import { describeMissed, nearestTarget, type TargetResult, targetsJson } from './target-scale.js'

/** Error: TARGET_MET. */
export function refuseMet(nearest: readonly TargetResult[]): void {
  const isMet = nearest.every(({ target: { kind }, before, asked }) =>
    isGain(kind) ? before >= asked : before <= asked,
  )
  if (isMet)
    throw new AttncError(
      'TARGET_MET',
      'usage',
      `The model meets ${nearest.map(({ target }) => `"${target.text}"`).join(' and ')} as it is.`,
      { suggestions: ['Ask for less, or name a --ratio.'] },
    )
}

/** Error: TARGET_UNREACHABLE. */
export function refuseUnreachable(nearest: readonly TargetResult[]): void {
  const missed = nearest.filter(({ isMet }) => !isMet)
  if (missed.length === 0) return
  throw new AttncError(
    'TARGET_UNREACHABLE',
    'budget',
    `Not even all that may go is enough: ${missed.map(describeMissed).join('; ')}.`,
    {
      suggestions: [
        `The nearest that can be reached: ${missed.map(nearestTarget).join(', ')}.`,
        'Run "attnc inspect --explain" to see what may go and what may not.',
      ],
      report: { targets: targetsJson(nearest) },
    },
  )
}

export const budgetMissed = (results: readonly TargetResult[]): AttncError =>
  new AttncError(
    'BUDGET_MISSED',
    'budget',
    `The targets were not met: ${results
      .filter(({ isMet }) => !isMet)
      .map(describeMissed)
      .join('; ')}.`,
    {
      suggestions: [
        `Nothing was written. The nearest that was reached: ${results.map(nearestTarget).join(', ')}.`,
      ],
      report: { targets: targetsJson(results) },
    },
  )
