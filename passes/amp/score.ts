/** Scores that judge units one by one; the least goes first. */

import type { Statistics } from '../../src/calibrate/statistics.js'
import { generator } from '../../src/data/generator.js'
import type { PrunableBlock, Unit } from '../../src/repair/prunable.js'
import type { AmpOptions } from './options.js'

/** What calibration and a run over the data say of a block. */
export interface Seen {
  readonly statistics: Statistics | undefined
  /** What a run of the criterion's own says of its units; without it calibration decides. */
  readonly scores: readonly number[] | undefined
}

/**
 * `paper`: a head by ‖x·W‖₁ and a neuron by mean |x| (amp.md §2.3, §2.4); `reversed`: the other way round.
 * `taylor`, `fisher`: gradient-scores.ts. `magnitude`: norm of the projection's rows. `random`: seeded.
 */
export function scoreUnits(
  block: PrunableBlock,
  units: readonly Unit[],
  { statistics, scores }: Seen,
  options: AmpOptions,
): number[] {
  const sign = options.criterion === 'reversed' ? -1 : 1
  const weight = block.projection?.read()
  const columns = block.projection?.columns ?? 0
  const random = generator(options.seed + block.layer * 2 + (block.kind === 'attention' ? 1 : 0))
  const isPaper = options.criterion === 'paper' || options.criterion === 'reversed'
  return units.map(({ rows }, unit) => {
    if (options.criterion === 'random') return random()
    if (scores) return sign * (scores[unit] as number)
    let score = 0
    for (const row of rows) {
      const norm = weight ? rowNorm(weight, row, columns) : 1
      const activity = statistics
        ? (statistics.absolute[row] ?? 0) / Math.max(statistics.prompts, 1)
        : 1
      if (options.criterion === 'magnitude') score += norm ** 2
      else if (block.kind === 'feedForward' && isPaper) score += activity
      else if (statistics?.moments)
        score +=
          ((statistics.moments[row * statistics.size + row] ?? 0) / statistics.tokens) * norm ** 2
      else score += activity * norm
    }
    return sign * score
  })
}

function rowNorm(weight: Float64Array, row: number, columns: number): number {
  let sum = 0
  for (let c = row * columns; c < (row + 1) * columns; c++) sum += (weight[c] as number) ** 2
  return Math.sqrt(sum)
}
