/** What a caller may choose, and what happens when it doesn't (docs/benchmarks/pruning.md says why). */

import type { Block } from '../../src/model/block.js'

/** What units are ranked by: the error that dropping them makes, or what other methods take. */
export type Criterion =
  | 'output'
  | 'activation'
  | 'paper'
  | 'magnitude'
  | 'random'
  | 'reversed'
  | 'taylor'
  | 'fisher'

/** How AMP ranks units, shares the budget and repairs what stays (docs/passes/amp.md). */
export interface AmpOptions {
  /** Share of the parameters of prunable blocks to remove, 0 to 1. */
  readonly ratio: number
  readonly criterion: Criterion
  readonly allocation: 'global' | 'uniform'
  /**
   * What an error counts: its size against the stream, what it does to the answers, or what the loss makes of
   * it. Where a target is to be met, and nothing was said, `answers`.
   */
  readonly weigh: 'answers' | 'stream' | 'loss'
  readonly recover: 'none' | 'ridge'
  /** λ = ridge · inputs/tokens · mean diagonal of the moments: the less was seen, the more. */
  readonly ridge: number
  /** Whether weights that read the pruned stream take in the best estimate of the dense one. */
  readonly correct: boolean
  /** Feed-forward widths that stay are multiples of this. */
  readonly roundTo: number
  /** What stays whole: numbers of layers, ids of dimensions, keys of blocks. */
  readonly protect: readonly (number | string)[]
  readonly scope: 'all' | 'heads' | 'feedForward'
  /** Whether value heads may lose members, after a change of basis. */
  readonly values: boolean
  /** Whether projections without a bias get one, for the means of what went. */
  readonly bias: boolean
  readonly seed: number
}

/** AMP where a caller says nothing. */
export const ampDefaults: AmpOptions = {
  ratio: 0.2,
  criterion: 'output',
  allocation: 'global',
  weigh: 'stream',
  recover: 'ridge',
  ridge: 0.3,
  correct: true,
  roundTo: 1,
  protect: [],
  scope: 'all',
  values: true,
  bias: false,
  seed: 0,
}

/** Whether the options ask for a block at all. */
export const isAskedFor = (
  { key, kind, layer }: Pick<Block, 'key' | 'kind' | 'layer'>,
  { protect, scope }: Pick<AmpOptions, 'protect' | 'scope'>,
): boolean =>
  !protect.includes(layer) &&
  // Experts have the key of their mixture with one number more.
  !protect.some((each) => key === each || key.startsWith(`${each}.`)) &&
  (scope === 'all' || (scope === 'heads') === (kind === 'attention'))
