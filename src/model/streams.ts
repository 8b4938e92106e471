/**
 * Residual streams and their widths: what the output projections of blocks are added to, and streams that
 * whole layers stand beside.
 */
import type { AxisAnalysis } from '../axes/analysis.js'
import { type Axis, leavesOf, sharesLeaf } from '../axes/axis.js'
import type { Value } from '../graph/graph.js'
import { joinOf } from './branch-join.js'
import type { FeedForward } from './feed-forward.js'
import type { LayerBlock } from './layers.js'
import { dependsOn } from './trace.js'

/** Columns of what blocks add to the residual stream. */
export function findHidden(analysis: AxisAnalysis, blocks: readonly LayerBlock[]): Axis[] {
  const found: Axis[] = []
  // What one layer over edges writes may be the heads of the next, with no stream between.
  const heads = new Set(
    blocks.flatMap((block) =>
      block.kind !== 'feedForward' && block.attention.over === 'edges'
        ? [...block.attention.keyValueHeadAxes, ...block.attention.groupAxes]
        : [],
    ),
  )
  for (const block of blocks) {
    const source = block.kind === 'feedForward' ? block.feedForward : block.attention
    const output = source.outputProjection?.node.outputs[0]
    const written = output && columnsOf(analysis, output)
    // Feed-forwards over tokens write columns that are tokens: the stream is where they are added.
    const axis =
      block.kind === 'feedForward'
        ? (joinedColumns(analysis, block.feedForward) ?? written)
        : written
    if (axis && !found.includes(axis.root) && !sharesLeaf(axis, heads) && isJoined(analysis, block))
      found.push(axis.root)
  }
  return withOuterStreams(analysis, blocks, found)
}

/** A weight behind a layer over edges that stands in no residual stream may be the next layer's, or the answer's. */
function isJoined(analysis: AxisAnalysis, block: LayerBlock): boolean {
  if (block.kind === 'feedForward' || block.attention.over === 'tokens') return true
  const { context, outputProjection } = block.attention
  const [output] = outputProjection?.node.outputs ?? []
  const isWeighted = (outputProjection?.operands.length ?? 0) > 1
  return !isWeighted || (output !== undefined && joinOf(analysis, output, context) !== undefined)
}

/**
 * Streams that whole layers stand beside, narrower ones inside: where what a product makes of a block's
 * stream is added to what that stream was made from. Each takes the place of the first one inside it,
 * which follows; others that are as wide as that one are the same again, a layer further.
 */
function withOuterStreams(
  analysis: AxisAnalysis,
  blocks: readonly LayerBlock[],
  inner: readonly Axis[],
): Axis[] {
  const written = blocks.flatMap((block) => {
    const source = block.kind === 'feedForward' ? block.feedForward : block.attention
    return source.outputProjection?.node.outputs[0] ?? []
  })
  const inside = new Map<Axis, Axis[]>()
  for (const { node, operands } of analysis.contractions) {
    const [output] = node.outputs
    const data = operands.flatMap(({ input }) => node.inputs[input] ?? [])
    const [source, other] = data.filter((value) => !analysis.isConstant(value))
    const outer = output && columnsOf(analysis, output)?.root
    if (!output || !outer || !source || other || written.includes(output)) continue
    const join = joinOf(analysis, output, source)
    const beside = join?.inputs.find((each) => each && !dependsOn(each, output))
    if (!beside || !analysis.axes(beside)?.some(({ root }) => root === outer)) continue
    const block = written.findLast((each) => dependsOn(source, each) && !dependsOn(beside, each))
    const own = block && columnsOf(analysis, block)?.root
    if (own && own !== outer && inner.includes(own))
      inside.set(outer, [...(inside.get(outer) ?? []), own])
  }
  const found = [...inner]
  for (const [outer, [first, ...rest]] of inside) {
    const again = rest.filter(
      (axis) => axis !== first && axis.size.equals(first?.size ?? outer.size),
    )
    for (const axis of again) found.splice(found.indexOf(axis), 1)
    if (found.includes(outer)) found.splice(found.indexOf(outer), 1)
    found.splice(first ? found.indexOf(first) : 0, 0, outer)
  }
  return found
}

const columnsOf = (analysis: AxisAnalysis, value: Value): Axis | undefined =>
  (analysis.axes(value) ?? []).findLast((each) => isStream(each))

/** Columns of the sum that a feed-forward is added to: parts may be projected on their own. */
function joinedColumns(analysis: AxisAnalysis, { join }: FeedForward): Axis | undefined {
  const [output] = join.outputs
  return output && columnsOf(analysis, output)
}

export const isStream = (axis: Axis): boolean =>
  axis.size.value !== undefined &&
  axis.size.value > 1 &&
  leavesOf(axis).some((leaf) => leaf.marks.has('projected'))
