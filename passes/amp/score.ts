/** Scores that judge units one by one; the least goes first. */

import type { Statistics } from '../../src/calibrate/statistics.js'
import { generator } from '../../src/data/generator.js'
import { squaredMembers } from '../../src/model/projection.js'
import type { PrunableBlock, Unit } from '../../src/repair/prunable.js'
import type { AmpOptions } from './options.js'

/** What calibration and a run over the data say of a block. */
export interface Seen {
  readonly statistics: Statistics | undefined
  /** What a run of the criterion's own says of its units; without it calibration decides. */
  readonly scores: readonly number[] | undefined
}

/**
 * `paper`: a head by ‖x·W‖₁ and a neuron by mean |x| (Mugnaini et al. 2025); `reversed`: the other way round.
 * `taylor`, `fisher`: gradient-scores.ts. `magnitude`: norm of the projection's rows. `random`: seeded.
 */
export function scoreUnits(
  block: PrunableBlock,
  units: readonly Unit[],
  { statistics, scores }: Seen,
  options: AmpOptions,
): number[] {
  const sign = options.criterion === 'reversed' ? -1 : 1
  const squares = rowSquares(block)
  const random = generator(options.seed + block.layer * 2 + (block.kind === 'attention' ? 1 : 0))
  const isPaper = options.criterion === 'paper' || options.criterion === 'reversed'
  return units.map(({ rows }, unit) => {
    if (options.criterion === 'random') return random()
    if (scores) return sign * (scores[unit] as number)
    let score = 0
    for (const row of rows) {
      const norm = squares ? Math.sqrt(squares[row] as number) : (block.contraction.share ?? 1)
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

/** Σ of the squares of each row of the projection, of all experts' where it is theirs. */
function rowSquares({ projection, stacked }: PrunableBlock): Float64Array | undefined {
  if (!projection) return stacked && squaredMembers(stacked)
  const { rows, columns } = projection
  const weight = projection.read()
  return Float64Array.from({ length: rows }, (_, row) => {
    let sum = 0
    for (let c = row * columns; c < (row + 1) * columns; c++) sum += (weight[c] as number) ** 2
    return sum
  })
}
