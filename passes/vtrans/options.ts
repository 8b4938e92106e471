/** What a caller may choose, and what happens when it doesn't (docs/benchmarks.md says why). */

export type Structure = 'heads' | 'width' | 'values' | 'hidden'

export interface VtransOptions {
  readonly ratio: number
  readonly structures: readonly Structure[]
  readonly protect: readonly (number | string)[]
  readonly updates: number
  readonly batchSize: number
  /** Peak learning rate of the masks. */
  readonly rate: number
  /** Weight of the bottleneck: at the start it adds this much to the loss. */
  readonly bottleneck: number
  /** log σ² at the start. */
  readonly noise: number
  /** Share of the updates in which the asked-for sparsity is reached. */
  readonly warmup: number
  /** Share of the updates, at the end, in which it is settled what stays and only means are learned. */
  readonly settle: number
  /** Peak learning rate of those. */
  readonly settlingRate: number
  /** Share of the loss that is the distance from the dense model. */
  readonly teacherShare: number
  readonly recover: 'none' | 'ridge'
  /** λ of the re-fit: ridge · inputs/tokens · mean diagonal of the moments. */
  readonly ridge: number
  /** Widths that stay are multiples of this. */
  readonly roundTo: number
  readonly seed: number
}

export const vtransDefaults: VtransOptions = {
  ratio: 0.2,
  structures: ['heads', 'width'],
  protect: [],
  updates: 400,
  batchSize: 4,
  rate: 0.1,
  bottleneck: 1,
  noise: -5,
  warmup: 0.3,
  settle: 0.25,
  settlingRate: 0.03,
  teacherShare: 0.5,
  recover: 'none',
  ridge: 0.3,
  roundTo: 1,
  seed: 0,
}
