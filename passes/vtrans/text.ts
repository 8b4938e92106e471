/** What masks are learned from: the data, and where they are few, text that the original model makes up. */
import type { Batch } from '../../src/data/batch.js'
import { makeLackingText, type TextContext } from '../../src/generate/lacking-text.js'
import { batchSizeOf, type VtransOptions } from './options.js'

/** Tokens of made-up text that re-fits are given besides: more cost them time and change little. */
const refitTokens = 1e5

export interface Sources {
  /** What gradients are taken on. */
  readonly training: readonly Batch[]
  /** Made up, beside those. */
  readonly text: readonly Batch[]
  /** What re-fits are given of it. */
  readonly fitting: readonly Batch[]
}

/** Errors: those of `recite`. */
export async function chooseSources(
  context: TextContext,
  all: readonly Batch[],
  options: VtransOptions,
): Promise<Sources> {
  const { variant, updates, weightUpdates } = options
  if (variant === 'local') return { training: all, text: [], fitting: [] }
  if (variant === 'fast') {
    // At least two batches: training holds one out.
    const few = Math.max(2, Math.ceil(all.length * options.share))
    return { training: all.slice(0, few), text: [], fitting: [] }
  }
  const runs = updates + (variant === 'full' ? 2 * weightUpdates : 0)
  const seen = runs * batchSizeOf(options, all)
  const text = await makeLackingText(context, all, { ...options, seen })
  return { training: all, text, fitting: firstTokens(text) }
}

function firstTokens(text: readonly Batch[]): readonly Batch[] {
  let tokens = 0
  return text.filter(({ ids }) => {
    const isWanted = tokens < refitTokens
    tokens += ids.reduce((sum, row) => sum + row.length, 0)
    return isWanted
  })
}
