/**
 * What runs of their own say of units and blocks: scores by gradients and outputs, and what a
 * block's error means to the answer.
 */
import { AttncError } from '../../src/errors.js'
import type { Products } from '../../src/linear-algebra/products.js'
import type { Ranking } from '../../src/repair/elimination.js'
import { Metric } from '../../src/repair/metric.js'
import type { Choice, PrunableBlock } from '../../src/repair/prunable.js'
import type { Allocated, RepairInput } from '../../src/repair/repair.js'
import { measureScales } from './answer-scales.js'
import { measureGradientScores } from './gradient-scores.js'
import { measureHeadWrites } from './head-writes.js'
import type { AmpOptions } from './options.js'
import { measureSensitivity } from './sensitivity.js'

/** What errors of each block mean to the answer; none where the size of the error is to decide. */
export async function findMetrics(
  input: RepairInput,
  blocks: readonly PrunableBlock[],
  options: AmpOptions,
  products: Products,
): Promise<ReadonlyMap<string, Metric>> {
  const { batches } = input
  const found = new Map<string, Metric>()
  if (!batches || options.criterion !== 'output' || options.weigh !== 'loss') return found
  const all = await measureSensitivity(input.model, input.view, blocks, { ...input, batches })
  for (const [key, g] of all ?? []) found.set(key, await Metric.of(g, products))
  return found
}

/** Errors of all blocks in one unit; as they are where blocks don't share a budget, or without data to run. */
export async function weighRankings(
  input: RepairInput,
  rankings: ReadonlyMap<Choice, Ranking>,
  { weigh, allocation, criterion, ridge }: AmpOptions,
  { blocks, products }: Pick<Allocated, 'blocks' | 'products'>,
): Promise<ReadonlyMap<Choice, Ranking>> {
  const { batches } = input
  const isWanted = weigh === 'answers' && allocation === 'global' && criterion === 'output'
  if (!isWanted || !batches) return rankings
  const scales = await measureScales({ ...input, batches }, blocks, rankings, { products, ridge })
  if (!scales) return rankings
  return new Map(
    [...rankings].map(([choice, { order, errors }]) => {
      const scale = scales.get(choice.block.key) ?? 1
      return [choice, { order, errors: errors.map((error) => error * scale) }]
    }),
  )
}

/** Scores that a run of their own gives; without data for it, calibration has to do. */
export async function findScores(
  input: RepairInput,
  blocks: readonly PrunableBlock[],
  { criterion }: AmpOptions,
): Promise<ReadonlyMap<string, readonly number[]>> {
  const { model, view, batches } = input
  if (criterion === 'taylor' || criterion === 'fisher') {
    if (batches) return measureGradientScores(model, blocks, batches, { ...input, criterion })
    throw new AttncError('NO_DATA', 'usage', `The criterion "${criterion}" needs data to run on.`, {
      suggestions: ['Give some with --data; statistics alone have no gradients.'],
    })
  }
  const isPaper = criterion === 'paper' || criterion === 'reversed'
  return batches && isPaper
    ? measureHeadWrites(model, view, blocks, batches, input)
    : new Map<string, readonly number[]>()
}
