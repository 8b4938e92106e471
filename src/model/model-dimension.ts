/**
 * The dimensions of a model that may lose members: what they are for, in which layer, and why some may not. Ids
 * are what plans and users name them by.
 */
import type { AxisAnalysis } from '../axes/analysis.js'
import { type Axis, leavesOf, type Reason } from '../axes/axis.js'
import { type Dimension, findDimensions } from '../axes/dimension.js'
import { isOnlyNormed } from '../axes/masked-norm.js'
import type { AttentionBlock } from './attention.js'
import type { FeedForward } from './feed-forward.js'
import type { LayerBlock as Block } from './layers.js'

export type Role =
  | 'keyValueHeads'
  | 'queryGroups'
  | 'headSize'
  | 'valueHeadSize'
  | 'width'
  | 'hidden'
  | 'vocabulary'
  | 'experts'
  | 'channels'

/** An axis of weights by its role, with what may be cut from it. */
export interface ModelDimension extends Dimension {
  /** `layer.3.keyValueHeads`; the name in plans. */
  readonly id: string
  readonly role: Role
  readonly layer: number | undefined
  readonly sliceable: boolean
  /** Sliceable but for norms over it, which then are norms over what stays. */
  readonly isNormed: boolean
  /** Why it is not sliceable; empty where it is. */
  readonly reasons: readonly Reason[]
}

export interface LayeredAttention extends AttentionBlock {
  readonly layer: number
  /** The same attention in a branch that goes on from a cache. */
  readonly again: AttentionBlock | undefined
  readonly dimension: ModelDimension | undefined
}

export interface LayeredFeedForward extends FeedForward {
  readonly layer: number
  readonly dimension: ModelDimension | undefined
  /** A mixture of experts: how many, and how many a token goes to. */
  readonly mixture: { readonly count: number; readonly perToken: number } | undefined
  /** The mixture's other experts, where each has weights of its own. */
  readonly others: readonly Expert[]
}

export interface Expert extends FeedForward {
  readonly dimension: ModelDimension | undefined
}

interface DimensionName {
  readonly id: string
  readonly role: Role
  readonly layer: number
}

export function nameDimensions(
  blocks: readonly Block[],
  layerOf: ReadonlyMap<Block, number>,
  groups: readonly FeedForward[][],
  streams: ReadonlySet<Axis>,
): Map<Axis, DimensionName> {
  const names = new Map<Axis, DimensionName>()
  const ids = new Set<string>()
  const add = (axis: Axis | undefined, role: Role, layer: number, part = ''): void => {
    if (!axis || axis.size.isOne || names.has(axis.root) || streams.has(axis.root)) return
    // A layer may have several blocks of a kind: the second width is `layer.3.1.width`.
    let id = `layer.${layer}.${part}${role}`
    for (let again = 1; ids.has(id); again++) id = `layer.${layer}.${again}.${part}${role}`
    ids.add(id)
    names.set(axis.root, { id, role, layer })
  }
  for (const block of blocks) {
    const layer = layerOf.get(block) ?? 0
    if (block.kind === 'feedForward') {
      const group = groupOf(block.feedForward, groups)
      for (const [index, each] of group.entries())
        add(each.axis, 'width', layer, group.length > 1 ? `expert.${index}.` : '')
      continue
    }
    const part = block.kind === 'cross' ? 'cross.' : ''
    const { keyValueHeadAxes, groupAxes, headSizeAxis, valueHeadSizeAxis } = block.attention
    keyValueHeadAxes.forEach((axis, index) => {
      add(axis, 'keyValueHeads', layer, index > 0 ? `${part}${index}.` : part)
    })
    groupAxes.forEach((axis, index) => {
      add(axis, 'queryGroups', layer, index > 0 ? `${part}${index}.` : part)
    })
    for (const [index, leaf] of (headSizeAxis ? leavesOf(headSizeAxis) : []).entries())
      add(leaf, 'headSize', layer, index > 0 ? `${part}${index}.` : part)
    for (const [index, leaf] of (valueHeadSizeAxis ? leavesOf(valueHeadSizeAxis) : []).entries())
      add(leaf, 'valueHeadSize', layer, index > 0 ? `${part}${index}.` : part)
  }
  return names
}

export const groupOf = (
  block: FeedForward,
  groups: readonly FeedForward[][],
): readonly FeedForward[] => groups.find((each) => each.includes(block)) ?? [block]

const attentionRoles: ReadonlySet<Role> = new Set([
  'keyValueHeads',
  'queryGroups',
  'headSize',
  'valueHeadSize',
])

const normedRoles: ReadonlySet<Role> = new Set(['keyValueHeads', 'queryGroups', 'width'])

export function describeDimensions(
  analysis: AxisAnalysis,
  names: ReadonlyMap<Axis, DimensionName>,
  hidden: readonly Axis[],
  vocabulary: Axis | undefined,
): ModelDimension[] {
  let channels = 0
  const streams = [...new Set(hidden.flatMap(leavesOf))]
  const described: ModelDimension[] = []
  for (const each of findDimensions(analysis)) {
    const name = names.get(each.axis)
    const hiddenIndex = streams.indexOf(each.axis)
    const role: Role | undefined =
      name?.role ??
      (hiddenIndex >= 0 ? 'hidden' : each.axis === vocabulary ? 'vocabulary' : undefined)
    // Without a role only what a product sums over is worth naming.
    if (!role && (!each.isContracted || each.blocked.length > 0)) continue
    const id =
      name?.id ??
      (role === 'hidden'
        ? streams.length > 1
          ? `hidden.${hiddenIndex}`
          : 'hidden'
        : (role ?? `channels.${channels++}`))
    const found = whyNot(each, role ?? 'channels')
    const isNormed =
      found.length > 0 &&
      found.length === each.entangled.length &&
      isOnlyNormed(analysis, each.entangled)
    // Inside a block a norm that leaves members out is answered for by the block's own projection.
    const reasons = isNormed && normedRoles.has(role ?? 'channels') ? [] : found
    described.push({
      ...each,
      id,
      role: role ?? 'channels',
      layer: name?.layer,
      sliceable: reasons.length === 0,
      isNormed,
      reasons,
    })
  }
  const rank = (dimension: ModelDimension): number => dimension.layer ?? Number.MAX_SAFE_INTEGER
  return described.sort((a, b) => rank(a) - rank(b))
}

function whyNot(dimension: Dimension, role: Role): Reason[] {
  const reasons = [...dimension.blocked, ...dimension.entangled]
  if (!attentionRoles.has(role))
    for (const value of dimension.interface)
      reasons.push({
        node: '',
        text: `is a dimension of "${value.name}", which the model's users see`,
      })
  if (!dimension.isContracted && role !== 'keyValueHeads' && role !== 'queryGroups')
    reasons.push({ node: '', text: 'is summed over by no product' })
  return reasons
}
