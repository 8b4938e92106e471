/**
 * Text that the original model makes up for the smaller one to learn from. A smaller model that sees the
 * same windows again and again learns them by heart; what the original says costs only time.
 */

import type { Batch } from '../../src/data/batch.js'
import { chooseGenerator, hasCache } from '../../src/generate/choose-model.js'
import { recite } from '../../src/generate/recite.js'
import type { PassContext } from '../../src/plan/pass.js'
import type { RecoverOptions } from './options.js'

/** Windows are seen about so often. */
const repeats = 4

/** Batches of text, or none: where data are plenty, are no text, or no model of the folder has a cache. */
export async function makeText(
  context: PassContext,
  learned: readonly Batch[],
  batchSize: number,
  { recite: asked, updates, seed }: RecoverOptions,
): Promise<Batch[]> {
  const { source, single, view, log } = context
  const windows = learned.reduce((sum, { ids }) => sum + ids.length, 0)
  const wanted = asked ?? Math.max(0, Math.ceil((updates * batchSize) / repeats) - windows)
  if (windows === 0 || wanted === 0) return []
  const isCached = hasCache(chooseGenerator(source, single))
  if (!isCached && asked === undefined) {
    log.info('No model of the folder has a cache, so no text is made up to learn from.')
    return []
  }
  log.info(`Making up ${wanted} windows of text with the original model.`)
  const texts = learned.flatMap(({ ids }) => ids)
  return recite({
    ...context,
    texts,
    length: texts.reduce((longest, ids) => Math.max(longest, ids.length), 0),
    batchSize: Math.max(learned[0]?.ids.length ?? 1, 1),
    windows: wanted,
    seed,
    vocabulary: view.vocabulary,
  })
}
