/** Targets and conditions that can't both hold, said before any work is done. */
import { AttncError } from '../errors.js'
import type { Condition } from '../evaluate/condition.js'
import type { Target } from './target.js'

/** What a target leads to is just met, so a condition that fails there fails. Error: TARGET_FAILS. */
export function refuseContradictions(
  targets: readonly Target[],
  conditions: readonly Condition[],
): void {
  for (const target of targets)
    for (const condition of conditions) {
      const isOfOne =
        condition.metric === target.kind &&
        condition.quantity === (target.isShare ? 'share' : 'value') &&
        JSON.stringify(condition.shape) === JSON.stringify(target.shape)
      const fails =
        condition.sign === '>' ? target.limit > condition.limit : target.limit < condition.limit
      if (isOfOne && fails)
        throw new AttncError(
          'TARGET_FAILS',
          'usage',
          `A model that just meets the target "${target.text}" fails by the condition "${condition.text}".`,
          {
            suggestions: ['Make the target as strict as the condition, or leave one of them away.'],
          },
        )
    }
}
