/** In what order the units of a choice go, and what each step costs, from calibration alone. */
import type { Calibration } from '../../src/calibrate/state.js'
import type { Statistics } from '../../src/calibrate/statistics.js'
import type { Products } from '../../src/linear-algebra/products.js'
import type { Log } from '../../src/log.js'
import type { Ranking } from '../../src/repair/elimination.js'
import type { Metric } from '../../src/repair/metric.js'
import type { Choice, PrunableBlock } from '../../src/repair/prunable.js'
import { deepest, rankByError } from '../../src/repair/rank-by-error.js'
import type { AmpOptions } from './options.js'
import { scoreUnits } from './score.js'

/** Units of a choice that may go; rounding may take up to half a step more than the share. */
export function mostUnits(
  { units }: Pick<Choice, 'units'>,
  { allocation, ratio, roundTo }: Pick<AmpOptions, 'allocation' | 'ratio' | 'roundTo'>,
): number {
  const share = allocation === 'uniform' ? ratio : deepest
  return Math.min(units.length - 1, Math.ceil(units.length * share) + roundTo)
}

export interface RankingHelp {
  /** What errors of each block mean to the answer, by block key. */
  readonly metrics: ReadonlyMap<string, Metric>
  /** What a run of the criterion's own says, by block key and unit. */
  readonly scores: ReadonlyMap<string, readonly number[]>
  readonly products: Products
  readonly log: Log
}

export async function rankChoices(
  blocks: readonly PrunableBlock[],
  calibration: Calibration,
  options: AmpOptions,
  { metrics, scores, products, log }: RankingHelp,
): Promise<Map<Choice, Ranking>> {
  const rankings = new Map<Choice, Ranking>()
  const waiting = [...blocks]
  const rankBlocks = async (): Promise<void> => {
    for (let block = waiting.shift(); block; block = waiting.shift()) {
      for (const choice of block.choices) {
        const ranking = await rankChoice(choice, calibration.get(block.key), options, {
          metric: metrics.get(block.key),
          scores: scores.get(block.key),
          products,
        })
        if (ranking) rankings.set(choice, ranking)
      }
      done += 1
      log.progress('ranking', done, blocks.length)
    }
  }
  let done = 0
  // Two blocks at a time: while one waits for a product, the other's loops run here.
  await Promise.all([rankBlocks(), rankBlocks()])
  return rankings
}

async function rankChoice(
  choice: Choice,
  statistics: Statistics | undefined,
  options: AmpOptions,
  {
    metric,
    scores: measured,
    products,
  }: { metric: Metric | undefined; scores: readonly number[] | undefined; products: Products },
): Promise<Ranking | undefined> {
  const { block, units, frame } = choice
  const most = mostUnits(choice, options)
  const isByError = statistics?.moments && (block.projection || block.isUnmixed)
  if (options.criterion === 'output' && isByError)
    return await rankByError(choice, statistics, { ...options, most, metric, products })
  // One score a unit says nothing about members of a basis that was not found.
  if (frame) return undefined
  const scores = scoreUnits(block, units, { statistics, scores: measured }, options)
  const order = [...scores.keys()]
    .sort((a, b) => (scores[a] as number) - (scores[b] as number) || a - b)
    .slice(0, most)
  let sum = 0
  const errors = order.map((unit) => {
    sum += scores[unit] as number
    return sum
  })
  return { order, errors }
}
