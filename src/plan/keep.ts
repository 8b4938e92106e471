/** The slices of a part of a plan held against a model: members that stay, or what stands in the way. */
import type { Axis } from '../axes/axis.js'
import { AttncError } from '../errors.js'
import type { TransformerModel } from '../model/model.js'
import type { ModelDimension } from '../model/model-dimension.js'
import type { PlanSlice } from './plan.js'

/** Members that stay, by leaf. Errors: UNKNOWN_DIMENSION, NOT_SLICEABLE, MEMBER_UNKNOWN, LAYER_EMPTIED, GRANULARITY. */
export function keepOf(
  view: TransformerModel,
  slices: readonly PlanSlice[],
): Map<Axis, readonly number[]> {
  const keep = new Map<Axis, readonly number[]>()
  for (const slice of slices) {
    const dimension = findDimension(view, slice.dimension)
    const before = keep.get(dimension.axis) ?? Array.from({ length: dimension.size }, (_, i) => i)
    const gone = new Set(slice.remove)
    const outside = slice.remove.find((member) => member < 0 || member >= dimension.size)
    if (outside !== undefined)
      throw planError(
        'MEMBER_UNKNOWN',
        `"${slice.dimension}" has members 0 to ${dimension.size - 1}; the plan removes ${outside}`,
      )
    const left = before.filter((member) => !gone.has(member))
    if (left.length === 0)
      throw planError(
        'LAYER_EMPTIED',
        `the plan removes all ${dimension.size} members of "${slice.dimension}"; one has to stay`,
      )
    checkRuns(dimension, left)
    keep.set(dimension.axis, left)
  }
  return keep
}

function findDimension(view: TransformerModel, id: string): ModelDimension {
  const found = view.dimensions.find((each) => each.id === id)
  if (!found)
    throw planError(
      'UNKNOWN_DIMENSION',
      `the model has no dimension "${id}"`,
      `Its dimensions: ${view.dimensions
        .slice(0, 8)
        .map((each) => each.id)
        .join(', ')} …`,
    )
  if (found.sliceable || found.isNormed) return found
  const [reason] = found.reasons
  throw planError(
    'NOT_SLICEABLE',
    `"${id}" can't lose members: ${reason?.node ? `at "${reason.node}" ` : ''}${reason?.text}`,
  )
}

/** Quantised weights lose whole blocks. */
function checkRuns(dimension: ModelDimension, left: readonly number[]): void {
  const { granularity, size, id } = dimension
  if (granularity === 1) return
  const kept = new Set(left)
  for (const member of left) {
    const start = Math.floor(member / granularity) * granularity
    for (let other = start; other < Math.min(start + granularity, size); other++)
      if (!kept.has(other))
        throw planError(
          'GRANULARITY',
          `"${id}" loses members in runs of ${granularity}; ${other} goes and ${member} stays`,
        )
  }
}

const planError = (code: string, text: string, suggestion?: string): AttncError =>
  new AttncError(code, 'usage', `The plan can't be applied: ${text}.`, {
    suggestions: [suggestion ?? 'Run "attnc inspect --explain" to see what may be removed.'],
  })
