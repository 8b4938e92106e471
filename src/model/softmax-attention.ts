/**
 * Attention, read from the axes: a softmax over the keys of a product of queries and keys, whose result is
 * contracted with values over the same keys.
 */
import type { AxisAnalysis, Contraction } from '../axes/analysis.js'
import { type Axis, leavesOf, sharesLeaf } from '../axes/axis.js'
import { isElementwise } from '../axes/rules/elementwise.js'
import type { Node, Value } from '../graph/graph.js'
import {
  type AttentionBlock,
  dataLeaves,
  findOutputProjection,
  isSingle,
  readShape,
  sourceOf,
  splitOperands,
} from './attention-block.js'
import { isCross } from './cross-attention.js'
import { isProjection } from './projection.js'
import { dependsOn, downstream, isNorm, isTransparent, upstream } from './trace.js'

export function readSoftmax(
  analysis: AxisAnalysis,
  byNode: ReadonlyMap<Node, Contraction>,
  positions: ReadonlySet<Value>,
  node: Node,
): AttentionBlock | undefined {
  const [logits] = node.inputs
  const [probabilities] = node.outputs
  if (!logits || !probabilities) return undefined
  const keys = softmaxLeaves(analysis, node)
  const product = findContext(analysis, byNode, probabilities, keys)
  const scores = product && findScores(analysis, byNode, positions, logits, keys)
  if (!product || !scores) return undefined
  const context = product.node.outputs[0] as Value
  const scoreValue = scores.product.node.outputs[0] as Value
  const values = product.operands.find((o) => !isFrom(product.node.inputs[o.input], probabilities))
  const valueInput = values && product.node.inputs[values.input]
  if (!valueInput) return undefined
  const { queries, keyInput } = scores
  const isLearned = analysis.isConstant(queries)
  const data = isLearned
    ? leavesBeside(analysis, queries, keyInput)
    : dataLeaves(analysis, byNode, queries)
  const weighing = product.operands.find((each) => each !== values)
  const weights = (weighing && product.node.inputs[weighing.input]) ?? scoreValue
  const channels = readChannels(analysis, scores.product, logits, keys)
  for (const leaf of channels ? leavesOf(channels.valueHeadSizeAxis) : []) data.add(leaf)
  const shape = readShape(analysis, weights, keyInput, valueInput, context, keys, data)
  const summed = scores.product.operands[0]?.what
  const isOfPositions = positions.has(keyInput)
  if (isLearned && (isOfPositions || weighsAsIs(analysis, keyInput, valueInput, shape, summed)))
    return undefined
  return {
    node,
    kind: isCross(analysis, byNode, positions, queries, keyInput) ? 'cross' : 'self',
    over: 'tokens',
    ...shape,
    headSize: summed?.size.value ?? 0,
    headSizeAxis: summed,
    ...channels,
    keys: keyInput,
    scores: scoreValue,
    probabilities,
    context,
    outputProjection: findOutputProjection(analysis, byNode, context, shape),
  }
}

/** Leaves of learned queries that keys lack: so many of them, and no heads. */
function leavesBeside(analysis: AxisAnalysis, queries: Value, keyInput: Value): Set<Axis> {
  const own = new Set((analysis.axes(keyInput) ?? []).flatMap(leavesOf))
  return new Set((analysis.axes(queries) ?? []).flatMap(leavesOf).filter((leaf) => !own.has(leaf)))
}

/** A learned score of each token that weighs the tokens as they are: no attention. */
function weighsAsIs(
  analysis: AxisAnalysis,
  keyInput: Value,
  valueInput: Value,
  { valueHeadSizeAxis }: Pick<AttentionBlock, 'valueHeadSizeAxis'>,
  summed: Axis | undefined,
): boolean {
  const isSame = sourceOf(analysis, keyInput) === sourceOf(analysis, valueInput)
  const leaves = new Set(summed ? leavesOf(summed) : [])
  return isSame && valueHeadSizeAxis !== undefined && sharesLeaf(valueHeadSizeAxis, leaves)
}

function softmaxLeaves(analysis: AxisAnalysis, node: Node): Set<Axis> {
  const axes = (node.inputs[0] && analysis.axes(node.inputs[0])) ?? []
  const stated = node.attributes.get('axis')
  const axis = stated?.kind === 'int' ? Number(stated.value) : -1
  // Past the rank in a damaged model: then nothing is known to be a key.
  const keys = axes.at(axis < 0 ? axis : axis - axes.length)
  return new Set(keys ? leavesOf(keys) : [])
}

/** The product that sums values over the keys, weighted by the softmax. */
function findContext(
  analysis: AxisAnalysis,
  byNode: ReadonlyMap<Node, Contraction>,
  probabilities: Value,
  keys: ReadonlySet<Axis>,
): Contraction | undefined {
  for (const { node, index } of downstream(probabilities, isPassed)) {
    const contraction = byNode.get(node)
    if (!contraction || contraction.operands.length < 2) continue
    const operand = contraction.operands.find((each) => each.input === index)
    const other = contraction.operands.find((each) => each.input !== index)
    const value = other && node.inputs[other.input]
    if (!operand || !value) continue
    if (!analysis.isConstant(value)) {
      if (isAlong(operand.what, keys)) return contraction
    } else if (node.outputs[0] && sharesLeaf(operand.what, headsOf(analysis, probabilities))) {
      // Heads that are mixed once more before they weigh the values.
      const mixed = findContext(analysis, byNode, node.outputs[0], keys)
      if (mixed) return mixed
    }
  }
  return undefined
}

/** Mixed heads may be normed, each pair of tokens for itself. */
const isPassed = (node: Node): boolean => isTransparent(node) || isNorm(node)

/** Leaves of all axes of scores or probabilities but the last two. */
const headsOf = (analysis: AxisAnalysis, value: Value): Set<Axis> =>
  new Set((analysis.axes(value) ?? []).slice(0, -2).flatMap(leavesOf))

/** Whether an axis is the keys', which may be a single one. */
const isAlong = (axis: Axis, keys: ReadonlySet<Axis>): boolean =>
  sharesLeaf(axis, keys) || (axis.size.isOne && isSingle(keys))

interface Scores {
  readonly product: Contraction
  readonly queries: Value
  readonly keyInput: Value
}

/** The product of queries and keys: the keys' axis comes from something that is not a constant. */
function findScores(
  analysis: AxisAnalysis,
  byNode: ReadonlyMap<Node, Contraction>,
  positions: ReadonlySet<Value>,
  logits: Value,
  keys: ReadonlySet<Axis>,
): Scores | undefined {
  const read = (product: Contraction): Scores | undefined => {
    const [queries, keyInput] = splitOperands(analysis, product, keys)
    return queries && keyInput ? { product, queries, keyInput } : undefined
  }
  let learned: Scores | undefined
  for (const node of upstream(logits)) {
    const product = byNode.get(node)
    if (!product) continue
    const scores = read(product)
    if (scores && !positions.has(scores.queries) && !positions.has(scores.keyInput)) return scores
    const paired = readPairs(analysis, byNode, product, keys)
    if (paired) return paired
    learned ??= scores
    const mixed = findMixedScores(analysis, byNode, product, logits, keys)
    if (mixed) return read(mixed)
  }
  return learned
}

/**
 * Scores as a sum over features of pairs, with or without weights: queries and keys meet member by member,
 * each in rows of its own.
 */
function readPairs(
  analysis: AxisAnalysis,
  byNode: ReadonlyMap<Node, Contraction>,
  product: Contraction,
  keys: ReadonlySet<Axis>,
): Scores | undefined {
  const operand = product.operands.find(({ input }) => {
    const value = product.node.inputs[input]
    return value && !analysis.isConstant(value)
  })
  const features = operand && product.node.inputs[operand.input]
  if (!features || !isProjection(analysis, product)) return undefined
  const through = (node: Node): boolean => isTransparent(node) && !byNode.has(node)
  for (const node of upstream(features, through)) {
    const [first, second, other] = node.inputs.filter((each) => each && !analysis.isConstant(each))
    if (!first || !second || other || !isElementwise(node)) continue
    const [a, b] = [analysis.axes(first) ?? [], analysis.axes(second) ?? []]
    if (a.length !== b.length) continue
    // Rows of queries and rows of keys, each repeated along the other's.
    const ofFirst = a.findIndex((axis, at) => isOpen(axis) && b[at]?.size.isOne)
    const ofSecond = b.findIndex((axis, at) => isOpen(axis) && a[at]?.size.isOne)
    const [rows, columns] = [a[ofFirst], b[ofSecond]]
    if (!rows || !columns) continue
    const isTurned = !sharesLeaf(columns, keys) || (sharesLeaf(rows, keys) && ofFirst > ofSecond)
    if (isTurned && !sharesLeaf(rows, keys)) continue
    return { product, queries: isTurned ? second : first, keyInput: isTurned ? first : second }
  }
  return undefined
}

const isOpen = ({ size }: Axis): boolean => !size.isOne

/** Scores behind a product with a constant that mixes the heads of all pairs alike. */
function findMixedScores(
  analysis: AxisAnalysis,
  byNode: ReadonlyMap<Node, Contraction>,
  mixer: Contraction,
  logits: Value,
  keys: ReadonlySet<Axis>,
): Contraction | undefined {
  const output = mixer.node.outputs[0]
  const operand = mixer.operands.find(({ input }) => {
    const value = mixer.node.inputs[input]
    return value && !analysis.isConstant(value)
  })
  const mixed = operand && mixer.node.inputs[operand.input]
  if (!mixed || !output || !isProjection(analysis, mixer)) return undefined
  const heads = headsOf(analysis, logits)
  if (!(analysis.axes(output) ?? []).some((axis) => !axis.size.isOne && sharesLeaf(axis, heads)))
    return undefined
  for (const node of upstream(mixed)) {
    const scores = byNode.get(node)
    const result = node.outputs[0]
    if (!scores || !result || !splitOperands(analysis, scores, keys)[1]) continue
    if (sharesLeaf(operand.what, headsOf(analysis, result))) return scores
  }
  return undefined
}

const isFrom = (value: Value | undefined, source: Value): boolean =>
  value === source || (value !== undefined && dependsOn(value, source))

interface Channels {
  readonly headSizeAxis: Axis
  readonly valueHeadSizeAxis: Axis
}

/**
 * The size of a head is what queries and keys are summed over. Where that is the tokens, a head attends
 * among its channels: those of the keys are the softmax's, those of the queries come out again.
 */
function readChannels(
  analysis: AxisAnalysis,
  scores: Contraction,
  logits: Value,
  keys: ReadonlySet<Axis>,
): (Pick<AttentionBlock, 'headSize' | 'valueHeadSize'> & Channels) | undefined {
  const summed = scores.operands[0]?.what
  const isLearned = (axis: Axis): boolean =>
    leavesOf(axis).some((leaf) => leaf.marks.has('projected'))
  const last = (analysis.axes(logits) ?? []).slice(-2)
  const channels = last.find((axis) => leavesOf(axis).every((leaf) => keys.has(leaf)))
  const rows = last.find((axis) => axis !== channels)
  if (!channels || !rows || !summed || isLearned(summed) || !isLearned(channels)) return undefined
  return {
    headSize: channels.size.value ?? 0,
    headSizeAxis: channels,
    valueHeadSize: rows.size.value ?? 0,
    valueHeadSizeAxis: rows,
  }
}
