/**
 * In what order units go whose sum no weight mixes, and what each step costs: heads that are laid beside each other
 * into a stream, or over each other in a mean. Nothing that stays can answer for what goes.
 */
import type { Statistics } from '../calibrate/statistics.js'
import { columnsOf } from '../model/unmixed.js'
import type { Ranking } from './elimination.js'
import type { Choice } from './prunable.js'

/** Undefined without second moments. */
export function rankUnmixed(
  { block, units }: Pick<Choice, 'block' | 'units'>,
  { moments, tokens, size }: Pick<Statistics, 'moments' | 'tokens' | 'size'>,
  most: number,
): Ranking | undefined {
  if (!moments) return undefined
  const { share = 1 } = block.contraction
  // Inputs that end in one column: of a mean, the same member of every head.
  const columns = columnsOf(block)
  const scale = share ** 2 / Math.max(tokens, 1)
  const shared = (one: number, other: number): number => {
    let sum = 0
    for (const row of units[one]?.rows ?? [])
      for (const each of units[other]?.rows ?? [])
        if (row % columns === each % columns) sum += moments[row * size + each] as number
    return scale * sum
  }
  const costs = units.map((_, unit) => shared(unit, unit))
  const order: number[] = []
  const errors: number[] = []
  const left = new Set(units.keys())
  while (order.length < most && left.size > 0) {
    const next = [...left].reduce((best, unit) =>
      (costs[unit] as number) < (costs[best] as number) ? unit : best,
    )
    left.delete(next)
    order.push(next)
    errors.push((errors.at(-1) ?? 0) + (costs[next] as number))
    for (const unit of left) costs[unit] = (costs[unit] as number) + 2 * shared(unit, next)
  }
  return { order, errors }
}
