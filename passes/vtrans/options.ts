/** What a caller may choose, and what happens when it doesn't (docs/benchmarks/masks.md says why). */

import type { Batch } from '../../src/data/batch.js'

/**
 * `hidden`: channels of the residual stream, one mask for the whole model. `layers`: the attention and the
 * feed-forward block of a layer whole, one mask each beside those of their heads and neurons.
 */
export type Structure = 'heads' | 'width' | 'hidden' | 'layers'

/**
 * `faster`: masks only. `fast`: weights too, on a part of the data. `full`: weights too, on all of it.
 * `local`: closed form, no gradients.
 */
export type Variant = 'faster' | 'fast' | 'full' | 'local'

/** `both`: parameters and latency, each by the ratio. */
export type Target = 'parameters' | 'flops' | 'latency' | 'both'

/** What is masked, and how masks are learned (docs/passes/vtrans.md). */
export interface VtransOptions {
  readonly variant: Variant
  /** What the ratio is a share of. Latency is timed on the provider of the run. */
  readonly target: Target
  readonly ratio: number
  readonly structures: readonly Structure[]
  readonly protect: readonly (number | string)[]
  readonly updates: number
  /** Samples an update. Default: 2,048 tokens of text, or 64 samples. */
  readonly batchSize?: number | undefined
  /** Peak learning rate of the masks. */
  readonly rate: number
  /** Weight of the bottleneck: at the start it adds this much to the loss. */
  readonly bottleneck: number
  /** log σ² at the start. */
  readonly noise: number
  /** Share of the updates in which the asked-for sparsity is reached. */
  readonly warmup: number
  /** Share of the updates, at the end, in which the means of what stays are learned on the re-fitted model. */
  readonly settle: number
  /** Peak learning rate of those. */
  readonly settlingRate: number
  /** Share of the loss that is the distance from the dense model. */
  readonly teacherShare: number
  /** Updates of weights, and their peak rate, with `fast` and `full`. */
  readonly weightUpdates: number
  readonly weightRate: number
  /** Share of the batches that `fast` sees. */
  readonly share: number
  /** Whether projections are re-fitted before their means are learned. Without channels of the stream: `ridge`. */
  readonly recover: 'none' | 'ridge'
  /** Windows of text that the original model makes up to be learned from. Default: as much as data lack. */
  readonly recite?: number | undefined
  /**
   * Whether what goes is said by the masks, or by what does best on held-out data: the masks or, where there is
   * a re-fit, the error of each block.
   */
  readonly choice: 'best' | 'masks'
  /** λ of the re-fit: ridge · inputs/tokens · mean diagonal of the moments. */
  readonly ridge: number
  /** Widths that stay are multiples of this. */
  readonly roundTo: number
  /** Bytes that learning may take on the provider. Default: most of what is free. */
  readonly memoryLimit?: number | undefined
  readonly seed: number
}

/** Learned masks where a caller says nothing. */
export const vtransDefaults: VtransOptions = {
  variant: 'faster',
  target: 'parameters',
  ratio: 0.2,
  structures: ['heads', 'width'],
  protect: [],
  updates: 400,
  rate: 0.1,
  bottleneck: 1,
  noise: -5,
  warmup: 0.3,
  settle: 0.25,
  settlingRate: 0.03,
  teacherShare: 0.8,
  weightUpdates: 150,
  weightRate: 1e-3,
  share: 0.03,
  recover: 'ridge',
  choice: 'best',
  ridge: 0.3,
  roundTo: 1,
  seed: 0,
}

/** Updates of noisy masks, and of the means after them. */
export function sharesOf({ updates, settle }: Pick<VtransOptions, 'updates' | 'settle'>) {
  const settling = Math.round(updates * settle)
  return { noisy: Math.max(1, updates - settling), settling }
}

/** Samples an update. */
export function batchSizeOf({ batchSize }: VtransOptions, [batch]: readonly Batch[]): number {
  const length = Math.max(0, ...(batch?.ids.map((row) => row.length) ?? []))
  return batchSize ?? (length > 0 ? Math.max(1, Math.round(2048 / length)) : 64)
}
