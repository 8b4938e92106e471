/**
 * Heads that have weights each of their own: so many softmaxes, whose values lie end to end before one
 * output projection. Together they are one block.
 */

import type { AxisAnalysis, Contraction } from '../axes/analysis.js'
import { leavesOf } from '../axes/axis.js'
import { intAttribute, type Node, type Value } from '../graph/graph.js'
import type { AttentionBlock } from './attention.js'
import { sourceOf } from './attention-block.js'
import { downstream, isMover, isTransparent, upstream } from './trace.js'

/** The blocks, with those that share an output projection so put together. */
export function withHeadsTogether(
  analysis: AxisAnalysis,
  blocks: readonly AttentionBlock[],
): AttentionBlock[] {
  const joined = new Map<Contraction, AttentionBlock[]>()
  for (const block of blocks) {
    const { outputProjection } = block
    if (outputProjection)
      joined.set(outputProjection, [...(joined.get(outputProjection) ?? []), block])
  }
  return blocks.flatMap((block) => {
    const heads = (block.outputProjection && joined.get(block.outputProjection)) ?? []
    if (heads.length < 2 || !areBeside(heads)) return [block]
    if (block !== heads[0]) return []
    // The same heads again, each time over some of the tokens.
    if (haveSameHeads(heads) && !meetAlongHeads(analysis, heads)) return [block]
    // Heads that share keys count them once.
    const byKeys = [...new Map(heads.map((each) => [sourceOf(analysis, each.keys), each])).values()]
    const keyValueHeads = byKeys.reduce(
      (total, each) => total + (pickedFrom(analysis, each) ?? each.keyValueHeads),
      0,
    )
    return [{ ...block, heads: heads.reduce((sum, each) => sum + each.heads, 0), keyValueHeads }]
  })
}

const haveSameHeads = ([first, ...rest]: readonly AttentionBlock[]): boolean => {
  const axes = [...(first?.keyValueHeadAxes ?? []), ...(first?.groupAxes ?? [])]
  const isSame = ({ heads, keyValueHeadAxes, groupAxes }: AttentionBlock): boolean =>
    heads === first?.heads &&
    [...keyValueHeadAxes, ...groupAxes].every((axis) => axes.includes(axis))
  return axes.length > 0 && rest.every(isSame)
}

/** Other queries beside each other, of the same key-value heads. */
function meetAlongHeads(analysis: AxisAnalysis, [first]: readonly AttentionBlock[]): boolean {
  const { node, index } = (first && laidAt(first.context)) ?? {}
  const input = node?.inputs[index ?? 0]
  const axes = (input && analysis.axes(input)) ?? []
  const along = node && axes.at(intAttribute(node, 'axis', 0))
  const own = [...(first?.keyValueHeadAxes ?? []), ...(first?.groupAxes ?? [])]
  return along !== undefined && leavesOf(along).some((leaf) => own.includes(leaf))
}

/** Whether the blocks are alike and the first thing that happens to them is that they are laid together. */
function areBeside(heads: readonly AttentionBlock[]): boolean {
  const [first] = heads
  const meetings = heads.map(({ context }) => laidAt(context))
  const [meeting] = meetings
  const places = new Set(meetings.map((each) => each?.index))
  return (
    meeting !== undefined &&
    places.size === heads.length &&
    meetings.every((each) => each?.node === meeting.node) &&
    heads.every(
      ({ kind, headSize, valueHeadSize }) =>
        kind === first?.kind &&
        headSize === first.headSize &&
        valueHeadSize === first.valueHeadSize,
    )
  )
}

/** The nearest Concat that a value gets to without meeting another, and where it is in it. */
function laidAt(value: Value): { readonly node: Node; readonly index: number } | undefined {
  for (const use of downstream(value, isMover)) if (use.node.op === 'Concat') return use
  return undefined
}

/** Of how many key-value heads a block's keys were picked: some, and some of them for several heads. */
function pickedFrom(analysis: AxisAnalysis, { keys }: AttentionBlock): number | undefined {
  const isPick = ({ op, domain }: Node): boolean => op === 'Gather' && domain === ''
  for (const node of upstream(keys, (each) => isPick(each) || isTransparent(each))) {
    const axes = isPick(node) && node.inputs[0] && analysis.axes(node.inputs[0])
    const axis = intAttribute(node, 'axis', 0)
    if (axes && axes.length === 4 && axis === 1) return axes[axis]?.size.value
  }
  return undefined
}
