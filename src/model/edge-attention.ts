/**
 * Attention over the edges of a graph: scores of pairs that an index picks, normed by sums that an index
 * scatters to the targets, weigh values of the sources, and another such sum is what a target hears. The norm
 * may be taken of each edge's weight, or of the sum at the target.
 */
import { leavesOf } from '../axes/axis.js'
import { type EdgeSums, isSumByIndex } from '../axes/edge-sums.js'
import { isElementwise } from '../axes/rules/elementwise.js'
import { intAttribute, type Node, type Value } from '../graph/graph.js'
import {
  type AttentionBlock,
  findOutputProjection,
  type Reading,
  readShape,
} from './attention-block.js'
import { isCross } from './cross-attention.js'
import { downstream, isMover, isTransparent, upstream } from './trace.js'

/** Weights and values of edges, as they meet. */
interface Message {
  readonly weights: Value
  readonly values: Value
  /** What is weighed before the norm: exp of the scores. */
  readonly raw: Value
  /** What the targets hear, normed. */
  readonly context: Value
}

/** The block whose values a node adds up by index, if it is one. */
export function readEdges(reading: Reading, node: Node): AttentionBlock | undefined {
  const { analysis, byNode, positions } = reading
  if (!isSumByIndex(node)) return undefined
  const [, targets, updates] = node.inputs
  const message = targets && updates && readMessage(reading, node, targets, updates)
  if (!message) return undefined
  const { weights, values, context } = message
  const scores = scoresOf(message.raw)
  const ends = scores && readEnds(reading, scores, targets)
  const edges = analysis.axes(weights)?.[0]
  if (!ends || !edges) return undefined
  const { queries, keys } = ends
  const shape = readShape(
    analysis,
    weights,
    keys,
    values,
    context,
    new Set(leavesOf(edges)),
    new Set(),
  )
  const headSizeAxis = readHeadSize(reading, scores, new Set(shape.keyValueHeadAxes))
  return {
    node,
    kind: isCross(analysis, byNode, positions, queries, keys) ? 'cross' : 'self',
    over: 'edges',
    ...shape,
    headSize: headSizeAxis?.size.value ?? shape.valueHeadSize,
    headSizeAxis,
    keys,
    scores,
    probabilities: weights,
    context,
    outputProjection: findOutputProjection(analysis, byNode, context, shape),
  }
}

/** Where a product of weights and values is scattered, and the weights are normed before or after. */
function readMessage(
  { analysis }: Reading,
  node: Node,
  targets: Value,
  updates: Value,
): Message | undefined {
  const { sums } = analysis
  const product = sums.behind(updates)?.producer
  const [sum] = node.outputs
  if (!product || !sum || product.op !== 'Mul' || product.domain !== '') return undefined
  const normed = normedSum(sums, sum, targets)
  for (const { weights, values } of pairsOf(sums, product)) {
    if (analysis.isConstant(weights) || analysis.isConstant(values)) continue
    const raw = rawOf(sums, weights, targets)
    if (raw) return { weights, values, raw, context: sum }
    if (normed && sums.isTotal(normed.total, weights, targets)) {
      const before = sums.behind(weights) as Value
      return { weights, values, raw: before, context: normed.context }
    }
  }
  return undefined
}

/** Both orders of the factors, and of products inside them. */
function* pairsOf(
  sums: EdgeSums,
  product: Node,
  depth = 3,
): IterableIterator<Pick<Message, 'weights' | 'values'>> {
  const [left, right] = product.inputs
  if (!left || !right) return
  yield { weights: left, values: right }
  yield { weights: right, values: left }
  for (const side of [left, right]) {
    const inner = sums.behind(side)?.producer
    if (depth > 0 && inner?.op === 'Mul' && inner.domain === '')
      yield* pairsOf(sums, inner, depth - 1)
  }
}

/** e of weights e/Σe, Σ over the edges of each target. */
function rawOf(sums: EdgeSums, weights: Value, targets: Value): Value | undefined {
  const division = sums.behind(weights)?.producer
  if (division?.op !== 'Div') return undefined
  const [part, whole] = division.inputs
  return part && sums.isSumOf(whole, part, targets) ? sums.behind(part) : undefined
}

/** What a scattered sum is divided by, and the result. */
function normedSum(
  sums: EdgeSums,
  sum: Value,
  targets: Value,
): { readonly total: Value; readonly context: Value } | undefined {
  for (const { node, index } of downstream(sum, isMover)) {
    const [context] = node.outputs
    const total = node.inputs[1]
    if (node.op !== 'Div' || index !== 0 || !context || !total) continue
    if (sumBehind(total, sums, targets)) return { total, context }
  }
  return undefined
}

const sumBehind = (total: Value, sums: EdgeSums, targets: Value): boolean =>
  [...upstream(total)].some(
    (node) => isSumByIndex(node) && sums.isSame(node.inputs[1] as Value, targets),
  )

/** What exp was taken of, without what was taken off before it. */
function scoresOf(raw: Value): Value | undefined {
  const exp = raw.producer
  if (exp?.op !== 'Exp') return raw
  const [input] = exp.inputs
  const taken = input?.producer
  return taken?.op === 'Sub' ? taken.inputs[0] : input
}

/** Rows of nodes that the scores are made of: at the targets, and at the other ends. */
function readEnds(
  { analysis, byNode }: Reading,
  scores: Value,
  targets: Value,
): { readonly queries: Value; readonly keys: Value } | undefined {
  let queries: Value | undefined
  let keys: Value | undefined
  const isRead = (node: Node): boolean =>
    node.op.startsWith('Gather') &&
    node.inputs[1] !== undefined &&
    !analysis.isConstant(node.inputs[1]) &&
    intAttribute(node, 'axis', 0) === 0
  const through = (node: Node): boolean =>
    !isRead(node) && (isTransparent(node) || byNode.has(node))
  for (const node of upstream(scores, through)) {
    const [output] = node.outputs
    if (!isRead(node) || !output) continue
    if (analysis.sums.isSame(node.inputs[1] as Value, targets)) queries ??= output
    else keys ??= output
  }
  return queries && keys ? { queries, keys } : undefined
}

/** What the nearest product behind the scores sums over, heads apart. */
function readHeadSize({ byNode }: Reading, scores: Value, heads: ReadonlySet<unknown>) {
  const through = (node: Node): boolean => isElementwise(node) || isMover(node)
  for (const node of upstream(scores, (each) => through(each) && !byNode.has(each))) {
    const what = byNode.get(node)?.operands[0]?.what
    if (what && !leavesOf(what).some((leaf) => heads.has(leaf))) return what
  }
  return undefined
}
