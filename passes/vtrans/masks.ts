/**
 * What a mask is learned for: every member of the dimensions that may go, in one vector for the whole
 * model. Members that go together (granularity) share an entry.
 */
import type { TransformerModel } from '../../src/model/model.js'
import type { ModelDimension } from '../../src/model/model-dimension.js'
import { nothingPrunable } from '../../src/repair/prunable.js'
import type { VtransOptions } from './options.js'

export interface Mask {
  readonly dimension: ModelDimension
  /** Place of its entries in the vector. */
  readonly offset: number
  readonly size: number
  /** One entry for all members of the dimension: whether the block is there at all. */
  readonly isWhole?: boolean
}

export interface MaskSet {
  readonly masks: readonly Mask[]
  /** Entries of all masks. */
  readonly size: number
}

/** The mask of the whole block beside that of its units. */
export const wholeOf = (masks: readonly Mask[], { dimension }: Mask): number =>
  masks.findIndex((mask) => mask.isWhole && mask.dimension === dimension)

/** Error: NOTHING_PRUNABLE. */
export function findMasks(
  view: TransformerModel,
  options: Pick<VtransOptions, 'protect' | 'structures'>,
): MaskSet {
  const masks: Mask[] = []
  let offset = 0
  const add = (dimension: ModelDimension | undefined): void => {
    if (!dimension || masks.some((mask) => mask.dimension === dimension)) return
    if (!dimension.sliceable && !(dimension.role === 'hidden' && dimension.isNormed)) return
    const { id, layer, size: members, granularity } = dimension
    if (options.protect.includes(id) || (layer !== undefined && options.protect.includes(layer)))
      return
    const size = Math.ceil(members / granularity)
    masks.push({ dimension, offset, size })
    offset += size
    const isOfBlock = dimension.role !== 'hidden'
    if (!isOfBlock || !options.structures.includes('layers')) return
    masks.push({ dimension, offset, size: 1, isWhole: true })
    offset += 1
  }
  if (options.structures.includes('heads')) for (const block of view.attention) add(block.dimension)
  if (options.structures.includes('width')) {
    for (const block of view.feedForward) add(block.dimension)
    for (const each of view.dimensions) if (each.role === 'width') add(each)
  }
  if (options.structures.includes('hidden'))
    for (const each of view.dimensions) if (each.role === 'hidden') add(each)
  if (masks.length === 0)
    throw nothingPrunable(
      options.protect.length > 0 && canMask(view, { ...options, protect: [] })
        ? 'protected'
        : 'nothing',
    )
  return { masks, size: offset }
}

function canMask(view: TransformerModel, options: Parameters<typeof findMasks>[1]): boolean {
  try {
    return findMasks(view, options).masks.length > 0
  } catch {
    return false
  }
}

/** The same masks in a part of their model, whose layers may be counted otherwise: found by weights and roles. */
export function masksIn(part: TransformerModel, { masks, size }: MaskSet): MaskSet {
  const own = masks.map((mask) => {
    const names = new Set(mask.dimension.places.map(({ value }) => value.name))
    const dimension = part.dimensions.find(
      ({ role, size: members, places }) =>
        role === mask.dimension.role &&
        members === mask.dimension.size &&
        places.some(({ value }) => names.has(value.name)),
    )
    return { ...mask, dimension: dimension ?? mask.dimension }
  })
  return { masks: own, size }
}
