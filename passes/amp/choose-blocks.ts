/** Blocks that may lose something and were asked for, with what is protected left out. */
import type { TransformerModel } from '../../src/model/model.js'
import type { ModelDimension } from '../../src/model/model-dimension.js'
import { findPrunable, nothingPrunable, type PrunableBlock } from '../../src/repair/prunable.js'
import { type AmpOptions, isAskedFor } from './options.js'

/** Error: NOTHING_PRUNABLE. */
export function chooseBlocks(view: TransformerModel, options: AmpOptions): PrunableBlock[] {
  const blocks = blocksAskedFor(view, options)
  if (blocks.length > 0) return blocks
  if (blocksAskedFor(view, { ...options, protect: [] }).length > 0)
    throw nothingPrunable('protected')
  const isSliceable = ({ dimension }: { dimension?: ModelDimension | undefined }): boolean =>
    dimension?.sliceable === true
  const couldGo = [...view.attention, ...view.feedForward].some(isSliceable)
  throw nothingPrunable(couldGo && options.scope === 'all' ? 'unweighed' : 'nothing')
}

function blocksAskedFor(view: TransformerModel, options: AmpOptions): PrunableBlock[] {
  const hasValues = options.values && options.recover === 'ridge'
  return findPrunable(view)
    .filter((block) => isAskedFor(block, options))
    .map((block) => ({
      ...block,
      choices: block.choices.filter(
        ({ frame, dimension }) => (hasValues || !frame) && !options.protect.includes(dimension.id),
      ),
    }))
    .filter(({ choices }) => choices.length > 0)
}
