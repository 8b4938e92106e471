/**
 * Text that the original model makes up for a smaller one to learn from, as much as data lack. What sees
 * the same windows again and again learns them by heart; what the original says costs only time.
 */
import type { Batch } from '../data/batch.js'
import { AttncError } from '../errors.js'
import type { TransformerModel } from '../model/model.js'
import type { LoadedModel } from '../model-folder/load.js'
import type { RunOptions } from '../runtime/batches.js'
import { chooseGenerator, hasCache } from './choose-model.js'
import { recite } from './recite.js'

export interface TextContext extends RunOptions {
  readonly source: LoadedModel
  readonly single: boolean
  readonly view: TransformerModel
}

export interface TextDemand {
  /** Windows that are learned from, one seen twice counted twice. */
  readonly seen: number
  /** Windows to be made up, where somebody says. */
  readonly recite?: number | undefined
  readonly seed: number
}

/** Windows are seen about so often. */
const repeats = 4

/** Batches of text, or none: where data are plenty, are no text, or no model of the folder has a cache. */
export async function makeLackingText(
  context: TextContext,
  learned: readonly Batch[],
  { seen, recite: asked, seed }: TextDemand,
): Promise<Batch[]> {
  const { source, single, view, log } = context
  const windows = learned.reduce((sum, { ids }) => sum + ids.length, 0)
  const wanted = asked ?? Math.max(0, Math.ceil(seen / repeats) - windows)
  if (windows === 0 || wanted === 0) return []
  const isCached = hasCache(chooseGenerator(source, single))
  if (!isCached && asked === undefined) {
    log.info('No model of the folder has a cache, so no text is made up to learn from.')
    return []
  }
  log.info(`Making up ${wanted} windows of text with the original model.`)
  const texts = learned.flatMap(({ ids }) => ids)
  const made = recite({
    ...context,
    texts,
    length: texts.reduce((longest, ids) => Math.max(longest, ids.length), 0),
    batchSize: Math.max(learned[0]?.ids.length ?? 1, 1),
    windows: wanted,
    seed,
    vocabulary: view.vocabulary,
  })
  return made.catch((error: unknown) => {
    // Nobody asked for it: arrays that were given may feed what text doesn't.
    const isOther = error instanceof AttncError && error.code === 'INPUT_UNKNOWN'
    if (!isOther || asked !== undefined) throw error
    log.info(`No text is made up to learn from. ${error.message}`)
    return []
  })
}
