/**
 * All operators of the domain `attnc`, each with all that is known of it. Those of backward passes
 * stand apart: training steps alone hold them, and they are emitted in the precision that the step
 * has by then.
 */
import { blockSelect } from './block-select/index.js'
import { blockSparseAttention } from './block-sparse-attention/index.js'
import { blockSparseAttentionGradient } from './block-sparse-attention-gradient/index.js'
import { gatherBlockAttention } from './gather-block-attention/index.js'
import type { Kernel } from './kernel.js'
import { rowProgram } from './row-program/index.js'
import { streamAttention } from './stream-attention/index.js'

/** What models hold. Each sums in float32 within, whatever its tensors are stored in. */
export const kernels: readonly Kernel<object>[] = [
  blockSelect,
  blockSparseAttention,
  gatherBlockAttention,
  streamAttention,
]

/** What only training steps hold. */
export const gradientKernels: readonly Kernel<object>[] = [blockSparseAttentionGradient, rowProgram]
