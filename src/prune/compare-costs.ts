/** What conditions on costs ask for: each cost of the original and of the model made from it. */
import { type CostName, isMeasured, type RunShape } from '../bench/cost.js'
import { AttncError } from '../errors.js'
import { type Compared, comparedCount, comparedTurns } from '../evaluate/compared.js'
import { type Condition, isCost } from '../evaluate/condition.js'
import type { RunOptions } from '../runtime/batches.js'
import { type CountedCosts, costsOf, cutCopy, type Subject } from './costs.js'
import { measureCost } from './measured-cost.js'

/**
 * One entry for each condition on a cost. Without an original, what is counted is compared with nothing, and
 * what is measured is measured beside itself. Error: COST_NOTHING.
 */
export async function compareCosts(
  conditions: readonly Condition[],
  before: Subject | undefined,
  after: Subject,
  options: RunOptions,
): Promise<Compared[]> {
  const wanted = conditions.flatMap(({ metric, shape, text }) =>
    isCost(metric) ? [{ metric, shape, text }] : [],
  )
  if (wanted.length === 0) return []
  const hasCache = wanted.some(({ metric }) => metric === 'kv')
  const costs = costsOf(after, hasCache)
  const were = before && costsOf(before, hasCache)
  const found: Compared[] = []
  for (const { metric, shape, text } of wanted)
    found.push(
      isMeasured(metric)
        ? await compareMeasured(metric, shape, before, after)
        : counted(metric, text),
    )
  return found

  function counted(metric: keyof CountedCosts, text: string): Compared {
    if ((were ?? costs)[metric] > 0) return comparedCount(metric, were?.[metric], costs[metric])
    throw nothingOf(metric, text)
  }

  async function compareMeasured(
    metric: Parameters<typeof measureCost>[0],
    shape: RunShape,
    original: Subject | undefined,
    cut: Subject,
  ): Promise<Compared> {
    const models = [cutCopy(original ?? cut), cutCopy(cut)] as const
    const pair = await measureCost(metric, models, shape, options)
    return comparedTurns({ metric, shape }, pair, original !== undefined)
  }
}

const nothingOf = (metric: CostName, text: string): AttncError =>
  new AttncError(
    'COST_NOTHING',
    'usage',
    `The condition "${text}" is on ${metric}, and the model has nothing of it.`,
    { suggestions: ['Name the folder or file that has it, or leave the condition away.'] },
  )
