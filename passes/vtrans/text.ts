/**
 * What masks are learned from: the data but for a tenth that judges, and where they are few, text that the
 * original model makes up.
 */
import type { Batch } from '../../src/data/batch.js'
import { makeLackingText, type TextContext } from '../../src/generate/lacking-text.js'
import { holdOut } from '../../src/train/held-out.js'
import { samplesOf, stack } from '../../src/train/sampling.js'
import { batchSizeOf, type VtransOptions } from './options.js'

/** Tokens of made-up text that re-fits are given besides: more cost them time and change little. */
const refitTokens = 1e5

export interface Sources {
  /** What gradients are taken on. */
  readonly training: readonly Batch[]
  /** What nothing is learned from; undefined where nothing is learned, or there is one sample only. */
  readonly heldOut: readonly Batch[] | undefined
  /** Made up, beside what is learned from. */
  readonly text: readonly Batch[]
  /** What re-fits are given: of the data, and of what was made up. */
  readonly fitting: readonly Batch[]
}

/** `batches` are what calibration needs of `all` data. Errors: those of `recite`. */
export async function chooseSources(
  context: TextContext,
  { batches, all }: { readonly batches: readonly Batch[]; readonly all: readonly Batch[] },
  options: VtransOptions,
): Promise<Sources> {
  const { variant, updates, weightUpdates, share } = options
  if (variant === 'local') return { training: all, heldOut: undefined, text: [], fitting: batches }
  // At least two batches: one is held out.
  const few = variant === 'fast' ? all.slice(0, Math.max(2, Math.ceil(all.length * share))) : all
  const count = samplesOf(few).length
  if (count < 2) context.log.info('One sample of data leaves none to judge by.')
  const split = count < 2 ? undefined : holdOut({ batches: few })
  const heldOut = split?.heldOut
  const training = split ? firstSamples(few, split.training.length) : few
  const own = split && variant !== 'fast' ? firstSamples(batches, split.training.length) : batches
  if (variant === 'fast') return { training, heldOut, text: [], fitting: own }
  const runs = updates + (variant === 'full' ? 2 * weightUpdates : 0)
  const seen = runs * batchSizeOf(options, all)
  const text = await makeLackingText(context, training, { ...options, seen })
  return { training, heldOut, text, fitting: [...own, ...firstTokens(text)] }
}

/** Batches as they are, but for samples beyond so many: those judge. */
function firstSamples(batches: readonly Batch[], most: number): readonly Batch[] {
  const samples = samplesOf(batches)
  if (samples.length <= most) return batches
  if (samples === batches) return batches.slice(0, most)
  const size = batches[0]?.ids.length || 32
  return Array.from({ length: Math.ceil(most / size) }, (_, at) =>
    stack(samples.slice(at * size, Math.min(most, (at + 1) * size))),
  )
}

function firstTokens(text: readonly Batch[]): readonly Batch[] {
  let tokens = 0
  return text.filter(({ ids }) => {
    const isWanted = tokens < refitTokens
    tokens += ids.reduce((sum, row) => sum + row.length, 0)
    return isWanted
  })
}
