/** What may go from a block: units of one dimension that end in one output projection. */
import { type Axis, leavesOf } from '../axes/axis.js'
import { membersAlong, NO_MEMBER } from '../axes/members.js'
import { Removal } from '../axes/removal.js'
import { AttncError } from '../errors.js'
import { type Block, findBlocks } from '../model/block.js'
import type { TransformerModel } from '../model/model.js'
import type { ModelDimension } from '../model/model-dimension.js'
import { findValueFrame, type ValueFrame } from '../model/value-frame.js'
import { elementCount } from '../onnx/tensor.js'

/** One dimension of a block, and the units of it that may go. */
export interface Choice {
  readonly block: PrunableBlock
  readonly dimension: ModelDimension
  /** Members of the dimension, aligned runs where it has a granularity. */
  readonly units: readonly Unit[]
  readonly parametersPerUnit: number
  /** Set for members of value heads, which are first turned into a basis of their own. */
  readonly frame: ValueFrame | undefined
}

export interface PrunableBlock extends Block {
  /** Heads or neurons first, members of value heads after them. */
  readonly choices: readonly Choice[]
}

export interface Unit {
  readonly members: readonly number[]
  /** Inputs of the output projection that are theirs. */
  readonly rows: readonly number[]
}

/**
 * Attention by key-value head (query group where there is one) and value member, feed-forward by neuron;
 * a feed-forward whose product is the attention's too goes with it.
 */
export function findPrunable(view: TransformerModel): PrunableBlock[] {
  // A dimension that several layers share is cut once, by the first.
  const taken = new Set<ModelDimension>()
  return findBlocks(view).flatMap((block) => {
    const choices: Choice[] = []
    const prunable: PrunableBlock = { ...block, choices }
    const add = (dimension: ModelDimension | undefined, frame: ValueFrame | undefined): void => {
      if (!dimension?.sliceable || taken.has(dimension)) return
      taken.add(dimension)
      const units = unitsOf(dimension, block.inputs)
      const parametersPerUnit = (dimension.parametersPerMember * dimension.size) / units.length
      choices.push({ block: prunable, dimension, units, parametersPerUnit, frame })
    }
    add(block.dimension, undefined)
    for (const each of view.feedForward)
      if (each.outputProjection === block.contraction) add(each.dimension, undefined)
    const attention = view.attention.find(
      (each) => block.kind === 'attention' && each.outputProjection === block.contraction,
    )
    const frame = attention && findValueFrame(view, attention)
    if (frame) add(frame.dimension, frame)
    return choices.length > 0 ? [prunable] : []
  })
}

/** Elements of weights that go when all units of these choices go: what two layers share counts once. */
export function parametersOfAll(choices: readonly Choice[]): number {
  const removal = new Removal(new Map(choices.map(({ dimension }) => [dimension.axis, []])))
  const places = new Map(
    choices.flatMap(({ dimension }) => dimension.places.map((place) => [place.value, place.axes])),
  )
  let total = 0
  for (const [{ constant }, axes] of places) {
    const after = axes.reduce((count, axis) => count * (removal.sizeOf(axis).value ?? 0), 1)
    total += elementCount(constant?.dims ?? []) - after
  }
  return total
}

/** Why nothing may go: it is protected, its part in what a block says can't be weighed, or there is nothing. */
const reasons = {
  protected: {
    text: 'Everything that could go is protected, so nothing may.',
    suggestion: 'Protect less with --protect; "attnc inspect" lists the layers.',
  },
  unweighed: {
    text: 'What could go from this model is read by products whose results are not weighed, such as convolutions of integers.',
    suggestion: 'Take --pass vtrans, which learns by the answers what may go.',
  },
  nothing: {
    text: 'No attention or feed-forward block of this model may lose anything.',
    suggestion: 'Run "attnc inspect --explain" to see why.',
  },
} as const

export const nothingPrunable = (why: keyof typeof reasons): AttncError =>
  new AttncError('NOTHING_PRUNABLE', 'partial', reasons[why].text, {
    suggestions: [reasons[why].suggestion],
  })

function unitsOf({ size, granularity, axis }: ModelDimension, what: Axis): Unit[] {
  const units: { members: number[]; rows: number[] }[] = []
  for (let member = 0; member < size; member++) {
    if (member % granularity === 0) units.push({ members: [], rows: [] })
    units.at(-1)?.members.push(member)
  }
  const owners = ownersOf(axis, what)
  for (const [row, member] of owners?.entries() ?? [])
    if (member !== NO_MEMBER) units[Math.floor(member / granularity)]?.rows.push(row)
  return owners ? units : units.map((unit) => ({ ...unit, rows: rowsOf(unit.members, axis, what) }))
}

/** The member that each row goes with; undefined where a row is of several. */
function ownersOf(axis: Axis, what: Axis): readonly number[] | undefined {
  const size = what.size.value ?? 0
  const occurrences = leavesOf(what).filter((leaf) => leaf === axis.root).length
  if (occurrences === 0) return new Array<number>(size).fill(NO_MEMBER)
  const [owners, another] = membersAlong(what, axis)
  const left = new Removal(new Map([[axis, []]])).kept(what)?.length ?? 0
  const owned = owners?.filter((member) => member !== NO_MEMBER).length
  return occurrences === 1 && !another && owned === size - left ? owners : undefined
}

/** Rows that go when these members do. */
function rowsOf(members: readonly number[], axis: Axis, what: Axis): number[] {
  const gone = new Set(members)
  const rest = Array.from({ length: axis.size.value ?? 0 }, (_, i) => i).filter((i) => !gone.has(i))
  const kept = new Set(new Removal(new Map([[axis, rest]])).kept(what))
  return Array.from({ length: what.size.value ?? 0 }, (_, i) => i).filter((row) => !kept.has(row))
}
