/** The means of masks that stay, taken into the projections that read the masked members. */
import { membersAlong } from '../../src/axes/members.js'
import { findBlocks } from '../../src/model/block.js'
import type { TransformerModel } from '../../src/model/model.js'
import type { RefittedProjection } from '../../src/plan/plan.js'
import { unitOf } from './gates.js'
import type { LearnedMasks } from './learn.js'
import type { Selection } from './select.js'

/** Whether a row is of another mask: heads and a width may end in one projection. */
const isOther = (unit: number): boolean => unit < 0

/** Rows of what goes are left out, rows of what stays are multiplied by μ. */
export function foldMeans(
  view: TransformerModel,
  { means }: Pick<LearnedMasks, 'means'>,
  selected: readonly Selection[],
): RefittedProjection[] {
  return findBlocks(view).flatMap(({ key, projection }) => {
    const own = projection
      ? selected.flatMap(({ mask, kept }) =>
          membersAlong(projection.inputs, mask.dimension.axis).map((members) => ({
            mask,
            kept: new Set(kept),
            // A block that is gone writes zero through what has to stay of it.
            isGone: mask.isWhole === true && kept.length === 0,
            units: members.map((member) => unitOf(mask, member)),
          })),
        )
      : []
    if (!projection || own.length === 0) return []
    const { rows, columns } = projection
    const stays = Array.from({ length: rows }, (_, row) => row).filter((row) =>
      own.every(({ mask, kept, units }) => {
        const unit = units[row] as number
        return mask.isWhole || isOther(unit) || kept.has(unit)
      }),
    )
    const old = projection.read()
    const weight = new Float32Array(stays.length * columns)
    for (const [to, row] of stays.entries()) {
      const factor = own.reduce((product, { mask, isGone, units }) => {
        const unit = units[row] as number
        if (isOther(unit)) return product
        return isGone ? 0 : product * (means[mask.offset + unit] as number)
      }, 1)
      for (let column = 0; column < columns; column++)
        weight[to * columns + column] = factor * (old[row * columns + column] as number)
    }
    return [{ block: key, rows: stays.length, columns, weight }]
  })
}
