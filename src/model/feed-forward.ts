/**
 * Feed-forward blocks, read from the axes: a variable made by one product with a constant and used up
 * by the next, with only operators between that work member by member, on a branch that joins a
 * residual stream. Gated when two different producers meet in a product.
 */
import type { AxisAnalysis, Contraction } from '../axes/analysis.js'
import { type Axis, leavesOf } from '../axes/axis.js'
import { intAttribute, type Node, type Value } from '../graph/graph.js'
import { fromConstant } from '../onnx/numbers.js'
import { findJoin, roundings } from './branch-join.js'
import { hasLeaf, isGated } from './gated-width.js'
import { isMover, isRecurrence, isTransparent, upstream } from './trace.js'

export interface FeedForward {
  /** The product that uses the width up. */
  readonly node: Node
  readonly width: number
  readonly gated: boolean
  /** The leaf that is the width. */
  readonly axis: Axis
  /** Input of the second product: [..., width]. */
  readonly hidden: Value
  readonly outputProjection: Contraction
  readonly producers: readonly Node[]
  /** Where the branch meets the residual stream. */
  readonly join: Node
  /** Experts in one product, where weights have an axis of them. */
  readonly experts: number
}

export function findFeedForward(analysis: AxisAnalysis, taken: ReadonlySet<Axis>): FeedForward[] {
  const byNode = new Map(analysis.contractions.map((each) => [each.node, each]))
  const found: FeedForward[] = []
  for (const contraction of analysis.contractions) {
    const block = readFeedForward(analysis, byNode, contraction, taken)
    if (block) found.push(block)
  }
  return found
}

function readFeedForward(
  analysis: AxisAnalysis,
  byNode: ReadonlyMap<Node, Contraction>,
  contraction: Contraction,
  taken: ReadonlySet<Axis>,
): FeedForward | undefined {
  const { node, operands } = contraction
  if (isRecurrence(node)) return undefined
  const activation = operands.find(({ input }) => !isWeightInput(analysis, node, input))
  const hidden = activation && node.inputs[activation.input]
  if (!hidden || !hasWeight(analysis, contraction)) return undefined
  // Beside the heads of an attention that shares the product, or alone.
  const groups = analysis.recorded.get(node)?.groups
  const inGroups = new Set(groups ? leavesOf(groups) : [])
  const leaves = leavesOf(activation.what).filter((leaf) => !taken.has(leaf) && !inGroups.has(leaf))
  const [axis] = leaves
  if (!axis || new Set(leaves).size !== 1) return undefined
  if (!groups && !isPart(activation.what, axis)) return undefined
  const width = axis.size.value
  if (width === undefined || width < 2) return undefined
  const producers = findProducers(analysis, byNode, hidden, axis)
  if (producers.length === 0 || producers.includes(node)) return undefined
  // Convolutions with norms between them are layers of their own, such as those that tell positions.
  if (node.op === 'Conv' && isNormed(hidden, producers)) return undefined
  if (!isBent(analysis, byNode, hidden)) return undefined
  const parts = groups ?? expertAxis(analysis, contraction)
  // The sum over the experts is no width of theirs.
  if (parts?.root === axis) return undefined
  const join = findJoin(analysis, node, sourceOf(analysis, producers[0]), parts !== undefined)
  if (!join || isConvolutionModule(analysis, hidden, producers, width)) return undefined
  // Parts of the stream, each with weights of its own, are no experts that share it.
  const isGrouped =
    groups !== undefined ||
    (parts !== undefined && hasLeaf(analysis, join.outputs[0] as Value, parts.root))
  const count = parts?.size.value ?? 1
  return {
    node,
    width: isGrouped ? width * count : width,
    gated: isGated(analysis, hidden, axis, (each) => passes(each) && !byNode.has(each)),
    axis,
    hidden,
    outputProjection: contraction,
    producers,
    join,
    experts: isGrouped ? 1 : count,
  }
}

/** Whether a leaf is an axis itself, or laid end to end with others in it. */
function isPart({ root }: Axis, leaf: Axis): boolean {
  if (root === leaf) return true
  return root.structure?.kind === 'sum' && root.structure.parts.some((part) => isPart(part, leaf))
}

/** What a product reads beside its weights. */
const sourceOf = (analysis: AxisAnalysis, producer: Node | undefined): Value | undefined =>
  producer?.inputs.find((value, index) => value && !isWeightInput(analysis, producer, index))

/** A constant, or the weights of chosen experts: rows picked from a constant of three axes. */
function isWeightInput(analysis: AxisAnalysis, node: Node, index: number): boolean {
  const value = node.inputs[index]
  if (!value) return false
  return analysis.isConstant(value) || expertTable(analysis, value) !== undefined
}

const reshapers = new Set(['Transpose', 'Squeeze', 'Unsqueeze', ...roundings])

function expertTable(analysis: AxisAnalysis, value: Value): Value | undefined {
  let { producer } = value
  while (producer && reshapers.has(producer.op)) producer = producer.inputs[0]?.producer
  const [table] = producer?.inputs ?? []
  if (!producer?.op.startsWith('Gather') || !table || !analysis.isConstant(table)) return undefined
  return (analysis.axes(table)?.length ?? 0) >= 3 ? table : undefined
}

/** Whether one side of the product is a weight, maybe packed. */
const hasWeight = (analysis: AxisAnalysis, contraction: Contraction): boolean =>
  contraction.operands.length === 1
    ? contraction.node.inputs.some(
        (value, index) =>
          index > 0 &&
          value &&
          analysis.isConstant(value) &&
          (analysis.axes(value)?.length ?? 0) > 1,
      )
    : contraction.operands.some(({ input }) => isWeightInput(analysis, contraction.node, input))

const norms = new Set(['LayerNormalization', 'RMSNormalization', 'SimplifiedLayerNormalization'])

/** Depthwise convolutions pass channels; so do quantise–dequantise pairs and norms. */
const passes = (node: Node): boolean =>
  isTransparent(node) ||
  node.op === 'BatchNormalization' ||
  norms.has(node.op) ||
  (node.op === 'Conv' && intAttribute(node, 'group', 1) !== 1)

const isNormed = (hidden: Value, producers: readonly Node[]): boolean =>
  [...upstream(hidden, (node) => passes(node) && !producers.includes(node))].some(({ op }) =>
    norms.has(op),
  )

/** A depthwise convolution on a branch no wider than its stream mixes positions: it is not a feed-forward. */
function isConvolutionModule(
  analysis: AxisAnalysis,
  hidden: Value,
  producers: readonly Node[],
  width: number,
): boolean {
  const source = producers[0]?.inputs.find((value) => value && !analysis.isConstant(value))
  const isAsWide = source && analysis.axes(source)?.some((axis) => axis.size.value === width)
  if (!isAsWide) return false
  for (const node of upstream(hidden, (each) => passes(each) && !producers.includes(each)))
    if (node.op === 'Conv' && !producers.includes(node)) return true
  return false
}

/** Products with constants whose columns are the width, behind operators that keep members apart. */
function findProducers(
  analysis: AxisAnalysis,
  byNode: ReadonlyMap<Node, Contraction>,
  hidden: Value,
  axis: Axis,
): Node[] {
  const through = (node: Node): boolean => passes(node) && !byNode.has(node)
  const producers: Node[] = []
  for (const node of upstream(hidden, through)) {
    const contraction = byNode.get(node)
    if (!contraction || isRecurrence(node) || !hasWeight(analysis, contraction)) continue
    const output = node.outputs[0]
    const has =
      output && (analysis.axes(output) ?? []).some((each) => leavesOf(each).includes(axis))
    if (has) producers.push(node)
  }
  return producers
}

const straight = new Set(
  `Add Sub Identity Cast Dropout QuantizeLinear DequantizeLinear DynamicQuantizeLinear
BatchNormalization LayerNormalization RMSNormalization SimplifiedLayerNormalization Conv`.split(
    /\s+/,
  ),
)

/** Whether anything but sums and scales is between the producers and the width: two projections in a row are one. */
function isBent(
  analysis: AxisAnalysis,
  byNode: ReadonlyMap<Node, Contraction>,
  hidden: Value,
): boolean {
  const through = (node: Node): boolean => passes(node) && !byNode.has(node)
  for (const node of upstream(hidden, through)) {
    if (isRectifier(node)) return true
    if (!through(node) || isMover(node) || straight.has(node.op)) continue
    const isScale =
      (node.op === 'Mul' || node.op === 'Div') &&
      node.inputs.some((input) => input && analysis.isConstant(input))
    if (!isScale) return true
  }
  return false
}

/** Rounding to codes of which the lowest means zero: a Relu before it left no node. */
function isRectifier({ op, inputs: [, , zero] }: Node): boolean {
  if (op !== 'QuantizeLinear') return false
  if (!zero) return true
  const code = zero.constant && fromConstant(zero.constant)
  const lowest = zero.constant?.dataType.startsWith('uint') ? 0 : -128
  return code?.data.length === 1 && Number(code.data[0]) === lowest
}

/** A batch axis of the weight, or the rows of the table it is picked from. */
function expertAxis(analysis: AxisAnalysis, contraction: Contraction): Axis | undefined {
  const { node, operands } = contraction
  if (node.op.includes('Conv')) return undefined
  const operand = operands.find(({ input }) => isWeightInput(analysis, node, input))
  const weight = operand && node.inputs[operand.input]
  const table = weight && (expertTable(analysis, weight) ?? weight)
  const axes = (table && analysis.axes(table)) ?? []
  return axes.length === 3 ? axes[0] : undefined
}
