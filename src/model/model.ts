/**
 * A model as passes see it: attention and feed-forward blocks in execution order, their layers, and
 * the dimensions that may lose members. Read from the axes; a view that is stale after an edit.
 */
import { type AxisAnalysis, analyseAxes } from '../axes/analysis.js'
import { type Axis, leavesOf } from '../axes/axis.js'
import type { Graph, Node, Value } from '../graph/graph.js'
import { type AttentionBlock, findAttention } from './attention.js'
import { type FeedForward, findFeedForward } from './feed-forward.js'
import { withHeadsTogether } from './heads-together.js'
import { type LayerBlock as Block, findTowers, numberTowers } from './layers.js'
import {
  describeDimensions,
  groupOf,
  type LayeredAttention,
  type LayeredFeedForward,
  type ModelDimension,
  nameDimensions,
} from './model-dimension.js'
import { sameProducts } from './same-products.js'
import { findSeams } from './seams.js'
import { findHidden, isStream } from './streams.js'
import { ancestorsOf, dependsOn, isMeasure, upstream } from './trace.js'

/** Stale once the graph is edited. */
export interface TransformerModel {
  readonly graph: Graph
  readonly analysis: AxisAnalysis
  readonly layers: number
  readonly attention: readonly LayeredAttention[]
  readonly feedForward: readonly LayeredFeedForward[]
  readonly dimensions: readonly ModelDimension[]
  /** Widths of the residual streams, in order of execution. */
  readonly hidden: readonly Axis[]
  readonly vocabulary: number | undefined
}

/** Blocks, layers and dimensions of a graph; what can't be read is left out, with reasons in the dimensions. */
export function readModel(graph: Graph): TransformerModel {
  const { analysis, found } = analyse(graph)
  const attention = withHeadsTogether(analysis, found.filter(isFirst))
  const taken = new Set(attention.flatMap(attentionLeaves))
  const feedForward = findFeedForward(analysis, taken).filter(isFirst)
  const groups = groupExperts(onStreams(analysis, feedForward, attention))
  const order = new Map([...graph.nodes()].map((node, index) => [node, index]))
  const encoder = encoderNodes(attention)
  // What cross-attention reads was there first, wherever the file lists it.
  const at = (node: Node): number => (order.get(node) ?? 0) + (encoder.has(node) ? 0 : order.size)
  const listed: Block[] = [
    ...attention.map((each) => ({ kind: each.kind, at: at(each.node), attention: each })),
    ...groups.map(([first]) => ({
      kind: 'feedForward' as const,
      at: at((first as FeedForward).node),
      feedForward: first as FeedForward,
    })),
  ].sort((a, b) => a.at - b.at)
  const towers = findTowers(graph, listed)
  const blocks = towers.flat()
  const layerOf = numberTowers(towers)
  const hidden = findHidden(analysis, blocks)
  const names = nameDimensions(blocks, layerOf, groups, new Set(hidden.flatMap(leavesOf)))
  const vocabulary = findVocabulary(analysis)
  const dimensions = describeDimensions(analysis, names, hidden, vocabulary)
  const byAxis = new Map(dimensions.map((each) => [each.axis, each]))
  return {
    graph,
    analysis,
    layers: Math.max(0, ...[...layerOf.values()].map((layer) => layer + 1)),
    attention: blocks.flatMap((block) =>
      block.kind === 'feedForward'
        ? []
        : [
            {
              ...block.attention,
              layer: layerOf.get(block) ?? 0,
              dimension: headsOf(block.attention, byAxis),
              again: againOf(block.attention, found),
            },
          ],
    ),
    feedForward: blocks.flatMap((block) =>
      block.kind === 'feedForward'
        ? [
            {
              ...block.feedForward,
              layer: layerOf.get(block) ?? 0,
              dimension: byAxis.get(block.feedForward.axis),
              mixture: mixtureOf(analysis, block.feedForward, groups),
              others: groupOf(block.feedForward, groups)
                .filter((each) => each !== block.feedForward)
                .map((each) => ({ ...each, dimension: byAxis.get(each.axis) })),
            },
          ]
        : [],
    ),
    dimensions,
    hidden,
    vocabulary: vocabulary?.size.value,
  }
}

/** Axes and attention; once more where heads are laid into a stream by no product. */
function analyse(graph: Graph): {
  readonly analysis: AxisAnalysis
  readonly found: readonly AttentionBlock[]
} {
  const analysis = analyseAxes(graph)
  const found = findAttention(analysis)
  const seams = findSeams(analysis, found)
  if (seams.size === 0) return { analysis, found }
  const sewn = analyseAxes(graph, { shapes: analysis.shapes, seams })
  return { analysis: sewn, found: findAttention(sewn) }
}

/** A branch with a cache does again what the one without does: one block of the model, used twice. */
const isFirst = ({ node }: AttentionBlock | FeedForward): boolean => !node.branch?.isAgain

/** The block of another branch that writes through the same weight. */
function againOf(
  { outputProjection }: AttentionBlock,
  all: readonly AttentionBlock[],
): AttentionBlock | undefined {
  const [, ...others] = outputProjection ? sameProducts(outputProjection.node) : []
  return all.find((each) => each.outputProjection && others.includes(each.outputProjection.node))
}

/** The dimension that heads go by: where they are several, the first that may lose members. */
function headsOf(
  { keyValueHeadAxes, groupAxes }: AttentionBlock,
  byAxis: ReadonlyMap<Axis, ModelDimension>,
): ModelDimension | undefined {
  const all = [...keyValueHeadAxes, ...groupAxes].flatMap((axis) => byAxis.get(axis) ?? [])
  return all.find(({ sliceable, role }) => sliceable && role === 'keyValueHeads') ?? all[0]
}

/** Convolutional feed-forwards are those on a stream that attention writes to; others are a backbone's. */
function onStreams(
  analysis: AxisAnalysis,
  feedForward: readonly FeedForward[],
  attention: readonly AttentionBlock[],
): readonly FeedForward[] {
  const columns = ({ outputProjection }: AttentionBlock | FeedForward): Axis[] => {
    const [output] = outputProjection?.node.outputs ?? []
    return ((output && analysis.axes(output)) ?? []).filter((axis) => isStream(axis))
  }
  const streams = new Set(attention.flatMap(columns).flatMap(leavesOf))
  if (streams.size === 0) return feedForward
  return feedForward.filter(
    (block) =>
      block.node.op !== 'Conv' ||
      (isPointwise(analysis, block) &&
        attention.some((each) => dependsOn(block.hidden, each.context))) ||
      columns(block)
        .flatMap(leavesOf)
        .some((leaf) => streams.has(leaf)),
  )
}

/** Whether the product sees each position alone. */
const isPointwise = (analysis: AxisAnalysis, { node }: FeedForward): boolean => {
  const axes = (node.inputs[1] && analysis.axes(node.inputs[1])) ?? []
  return axes.length > 2 && axes.slice(2).every(({ size }) => size.isOne)
}

function encoderNodes(attention: readonly AttentionBlock[]): Set<Node> {
  const nodes = new Set<Node>()
  for (const block of attention)
    if (block.kind === 'cross')
      for (const node of upstream(block.keys, (each) => !isMeasure(each))) nodes.add(node)
  return nodes
}

const attentionLeaves = (block: AttentionBlock): Axis[] => [
  ...block.keyValueHeadAxes,
  ...block.groupAxes,
  ...(block.headSizeAxis ? leavesOf(block.headSizeAxis) : []),
  ...(block.valueHeadSizeAxis ? leavesOf(block.valueHeadSizeAxis) : []),
]

/** Feed-forwards that meet the stream at the same addition are experts of one block. */
function groupExperts(blocks: readonly FeedForward[]): FeedForward[][] {
  const groups = new Map<Node, FeedForward[]>()
  for (const block of blocks) groups.set(block.join, [...(groups.get(block.join) ?? []), block])
  return [...groups.values()].map((group) =>
    group.some((each) => each.experts > 1)
      ? group.toSorted((a, b) => b.experts - a.experts)
      : group,
  )
}

/** Rows of the largest table that is looked up by an integer input. */
function findVocabulary(analysis: AxisAnalysis): Axis | undefined {
  const inputs = new Set<Value>(analysis.graph.inputs)
  let best: Axis | undefined
  for (const node of analysis.graph.nodes()) {
    if (!['Gather', 'GatherBlockQuantized', 'EmbedLayerNormalization'].includes(node.op)) continue
    const isEmbed = node.op === 'EmbedLayerNormalization'
    const index = node.inputs[isEmbed ? 0 : 1]
    const table = node.inputs[isEmbed ? 2 : 0]
    if (!index || !table || !analysis.isConstant(table)) continue
    const isFed =
      inputs.has(index) ||
      [...upstream(index)].some((each) => each.inputs.some((value) => value && inputs.has(value)))
    const rows = analysis.axes(table)?.[0]
    if (isFed && rows && (rows.size.value ?? 0) > (best?.size.value ?? 0)) best = rows.root
  }
  return best
}

function mixtureOf(
  analysis: AxisAnalysis,
  block: FeedForward,
  groups: readonly FeedForward[][],
): LayeredFeedForward['mixture'] {
  const group = groupOf(block, groups)
  const count = block.experts > 1 ? block.experts : group.length
  if (count < 2) return undefined
  let best = 0
  for (const node of ancestorsOf(block.outputProjection.node.outputs[0] as Value)) {
    const isBest = node.op === 'ArgMax'
    if (node.op !== 'TopK' && !isBest) continue
    const among = node.inputs[0] && analysis.axes(node.inputs[0])
    if (isBest && among?.some((axis) => axis.size.value === count)) best++
    const chosen = node.outputs[0] && analysis.axes(node.outputs[0])?.at(-1)?.size.value
    if (!isBest && chosen) return { count, perToken: chosen }
  }
  return { count, perToken: best || count }
}
