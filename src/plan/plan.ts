/**
 * What is to be removed, as plain JSON (format 1): written by `prune`, or by hand, and replayed by
 * `apply`. The same model, plan and version give the same bytes.
 */

import type { Axis } from '../axes/axis.js'
import { AttncError } from '../errors.js'
import type { ModelDimension, TransformerModel } from '../model/model.js'

export interface PlanSlice {
  /** Id of a dimension, as `inspect` prints it. */
  readonly dimension: string
  /** Members that go. */
  readonly remove: readonly number[]
}

/** Numbers inside of a printed plan, by name. */
export type PrintedArrays = Readonly<
  Record<string, { readonly dims: readonly number[]; readonly base64: string }>
>

export interface Plan {
  readonly format: 1
  readonly slices: readonly PlanSlice[]
  /** Re-fitted weights beside the plan or in it, and the digest they have to have. */
  readonly projections?: {
    readonly file: string
    readonly sha256: string
    readonly arrays?: PrintedArrays
  }
  /** Who made the plan, from what, and how; read by people only. */
  readonly made?: Readonly<Record<string, unknown>>
}

/** Checks a parsed plan. Error: PLAN_FORMAT. */
export function parsePlan(value: unknown, what: string): Plan {
  const fail = (text: string): AttncError =>
    new AttncError('PLAN_FORMAT', 'usage', `"${what}" is no plan: ${text}.`, {
      suggestions: [
        'A plan is {"format": 1, "slices": [{"dimension": "layer.0.width", "remove": [3]}]}.',
      ],
    })
  const plan = value as Partial<Plan> | null
  if (typeof plan !== 'object' || plan === null) throw fail('it is not an object')
  if (plan.format !== 1) throw fail(`its format is ${JSON.stringify(plan.format)}, 1 is understood`)
  if (!Array.isArray(plan.slices)) throw fail('it has no list "slices"')
  for (const [index, slice] of plan.slices.entries()) {
    if (typeof slice?.dimension !== 'string') throw fail(`slice ${index} names no dimension`)
    if (!Array.isArray(slice.remove) || !slice.remove.every((n: unknown) => Number.isInteger(n)))
      throw fail(`slice ${index} ("${slice.dimension}") has no list of whole numbers "remove"`)
  }
  const stated = plan.projections
  if (
    stated !== undefined &&
    (typeof stated?.file !== 'string' ||
      typeof stated.sha256 !== 'string' ||
      !['object', 'undefined'].includes(typeof stated.arrays))
  )
    throw fail('"projections" has to have "file" and "sha256"')
  return plan as Plan
}

/** Members that stay, by leaf. Errors: UNKNOWN_DIMENSION, NOT_SLICEABLE, MEMBER_UNKNOWN, LAYER_EMPTIED, GRANULARITY. */
export function keepOf(view: TransformerModel, plan: Plan): Map<Axis, readonly number[]> {
  const keep = new Map<Axis, readonly number[]>()
  for (const slice of plan.slices) {
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
  if (found.sliceable) return found
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
