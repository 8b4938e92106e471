/**
 * AMP: which attention heads and feed-forward neurons go, and what their output projections become.
 * `paper` follows the published code (amp.md §2); the default drops what costs least squared output
 * and re-fits the projection in closed form (elimination.ts).
 */
import type { Calibration } from '../../src/calibrate/calibrate.js'
import type { Statistics } from '../../src/calibrate/statistics.js'
import { AttncError } from '../../src/errors.js'
import type { Log } from '../../src/log.js'
import type { TransformerModel } from '../../src/model/model.js'
import type { PlanSlice } from '../../src/plan/plan.js'
import { allocate, allocateUniform, unitParameters } from './allocate.js'
import { findBlocks, type PrunableBlock } from './block.js'
import { eliminate } from './elimination.js'
import { scoreUnits } from './score.js'

export type Criterion = 'output' | 'paper' | 'magnitude' | 'random' | 'reversed'

export interface AmpOptions {
  /** Share of the parameters of prunable blocks to remove, 0 to 1. */
  readonly ratio: number
  readonly criterion: Criterion
  readonly allocation: 'global' | 'uniform'
  readonly recover: 'none' | 'ridge'
  /** λ as a share of the mean diagonal of the moments. */
  readonly ridge: number
  /** Widths that stay are multiples of this. */
  readonly roundTo: number
  /** `layer 0`-like: blocks of these layers stay whole. */
  readonly protect: readonly number[]
  readonly scope: 'all' | 'heads' | 'feedForward'
  readonly seed: number
}

export const ampDefaults: AmpOptions = {
  ratio: 0.2,
  criterion: 'output',
  allocation: 'global',
  recover: 'ridge',
  ridge: 0.01,
  roundTo: 1,
  protect: [],
  scope: 'all',
  seed: 0,
}

export interface Decision {
  readonly block: PrunableBlock
  readonly slice: PlanSlice
  readonly parameters: number
  /** Inputs of the output projection that stay, and the re-fitted weight [inputs, outputs]. */
  readonly refit: { readonly rows: readonly number[]; readonly weight: Float64Array } | undefined
}

export function decideAmp(
  view: TransformerModel,
  calibration: Calibration,
  options: AmpOptions,
  log: Log,
): Decision[] {
  const blocks = findBlocks(view).filter(
    (block) =>
      !options.protect.includes(block.layer) &&
      (options.scope === 'all' || (options.scope === 'heads') === (block.kind === 'attention')),
  )
  if (blocks.length === 0)
    throw new AttncError(
      'NOTHING_PRUNABLE',
      'partial',
      'No attention or feed-forward block of this model may lose anything.',
      { suggestions: ['Run "attnc inspect --explain" to see why.'] },
    )
  if (!(options.ratio > 0 && options.ratio < 1))
    throw new AttncError(
      'RATIO_RANGE',
      'usage',
      `The ratio is ${options.ratio}; it has to lie between 0 and 1 (0.2 removes a fifth).`,
    )
  const total = blocks.reduce((sum, block) => sum + unitParameters(block) * block.units.length, 0)
  const budget = options.ratio * total
  const orders = rankBlocks(blocks, calibration, options, log)
  const counts =
    options.allocation === 'uniform'
      ? allocateUniform(blocks, options.ratio)
      : allocate(
          orders.map(({ block, errors }) => ({ block, errors })),
          budget,
        )
  const decisions: Decision[] = []
  for (const [index, { block, order }] of orders.entries()) {
    const count = roundedCount(block, counts.get(block) ?? 0, options.roundTo)
    if (count === 0) continue
    decisions.push(decideBlock(block, order, count, calibration.get(block.key), options))
    log.progress('re-fitting', index + 1, orders.length)
  }
  return decisions
}

interface Ranking {
  readonly block: PrunableBlock
  readonly order: readonly number[]
  readonly errors: readonly number[]
}

function rankBlocks(
  blocks: readonly PrunableBlock[],
  calibration: Calibration,
  options: AmpOptions,
  log: Log,
): Ranking[] {
  return blocks.map((block, index) => {
    log.progress('ranking', index + 1, blocks.length)
    const statistics = calibration.get(block.key)
    const most = Math.min(
      block.units.length - 1,
      Math.ceil(block.units.length * (options.allocation === 'uniform' ? options.ratio : 0.9)),
    )
    if (options.criterion === 'output' && statistics?.moments && block.projection) {
      const { order, errors } = eliminate(
        { ...eliminationInput(block, statistics, options), moments: statistics.moments },
        most,
      )
      return { block, order, errors }
    }
    const scores = scoreUnits(block, statistics, options)
    const order = [...scores.keys()].sort(
      (a, b) => (scores[a] as number) - (scores[b] as number) || a - b,
    )
    let sum = 0
    const errors = order.slice(0, most).map((unit) => {
      sum += scores[unit] as number
      return sum
    })
    return { block, order: order.slice(0, most), errors }
  })
}

function eliminationInput(block: PrunableBlock, statistics: Statistics, options: AmpOptions) {
  const { projection, units } = block
  return {
    moments: statistics.moments ?? new Float64Array(),
    tokens: statistics.tokens,
    weight: projection?.read() ?? new Float64Array(),
    columns: projection?.columns ?? 0,
    units: units.map(({ rows }) => rows),
    ridge: options.ridge,
  }
}

/** Fewer or more, so that the width that stays is a multiple of `roundTo`. */
function roundedCount(block: PrunableBlock, count: number, roundTo: number): number {
  const { units } = block
  if (block.kind === 'attention' || roundTo <= 1) return Math.min(count, units.length - 1)
  const step = Math.max(1, Math.round(roundTo / block.dimension.granularity))
  const kept = Math.max(step, Math.round((units.length - count) / step) * step)
  return Math.max(0, units.length - Math.min(kept, units.length))
}

function decideBlock(
  block: PrunableBlock,
  order: readonly number[],
  count: number,
  statistics: Statistics | undefined,
  options: AmpOptions,
): Decision {
  const gone = order.slice(0, count)
  const remove = gone.flatMap((unit) => block.units[unit]?.members ?? []).sort((a, b) => a - b)
  const slice = { dimension: block.dimension.id, remove }
  const parameters = count * unitParameters(block)
  if (options.recover === 'none' || !statistics?.moments || !block.projection)
    return { block, slice, parameters, refit: undefined }
  const input = eliminationInput(block, statistics, options)
  // The chosen units in one go: the re-fit depends on the set, not on the order.
  const fixed = { ...input, units: [...gone.map((unit) => input.units[unit] ?? []), [0]] }
  const { weight } = eliminate(fixed, count)
  const lost = new Set(gone.flatMap((unit) => block.units[unit]?.rows ?? []))
  const rows = Array.from({ length: block.projection.rows }, (_, i) => i).filter(
    (i) => !lost.has(i),
  )
  return { block, slice, parameters, refit: { rows, weight } }
}
