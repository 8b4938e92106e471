/** Blocks that were asked for and have nothing that could go, with the reason: a run is then partial. */
import type { TransformerModel } from '../../src/model/model.js'
import type { ModelDimension } from '../../src/model/model-dimension.js'
import type { Skipped } from '../../src/plan/pass.js'
import { findPrunable } from '../../src/repair/prunable.js'
import { type AmpOptions, isAskedFor } from './options.js'

/** Of a transposed convolution, for instance, or a weight that two blocks share. */
const unread = 'end in no plain product that could be re-fitted; --pass vtrans may cut them'

export function findSkipped(
  view: TransformerModel,
  options: Pick<AmpOptions, 'protect' | 'scope'>,
): Skipped[] {
  const blocks = findPrunable(view)
  const done = new Set(blocks.map(({ key }) => key))
  // A dimension that several blocks share is cut with the first.
  const cut = new Set(blocks.flatMap(({ choices }) => choices.map((each) => each.dimension)))
  const skipped: Skipped[] = []
  const look = (
    kind: 'attention' | 'feedForward',
    index: number,
    layer: number,
    dimension: ModelDimension | undefined,
    absent: string,
  ): void => {
    const key = `${kind}.${index}`
    if (done.has(key) || (dimension && cut.has(dimension))) return
    if (!isAskedFor({ key, kind, layer }, options)) return
    if (dimension && options.protect.includes(dimension.id)) return
    const [reason] = dimension?.reasons ?? []
    const where = reason?.node ? ` at "${reason.node}"` : ''
    skipped.push({ block: key, layer, reason: reason ? `${reason.text}${where}` : absent })
  }
  // One head has to stay: nothing was left undone.
  for (const [index, { heads, layer, dimension }] of view.attention.entries())
    if (heads > 1) look('attention', index, layer, dimension, `its heads ${unread}`)
  for (const [index, { layer, dimension }] of view.feedForward.entries())
    look('feedForward', index, layer, dimension, `its neurons ${unread}`)
  return skipped
}
