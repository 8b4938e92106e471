/**
 * Attention without a softmax node: a product of queries and keys that is squashed, masked or divided in
 * any way before it weighs the values; or keys and values summed over the tokens first, which the queries
 * then read from (linear attention).
 */
import type { Contraction } from '../axes/analysis.js'
import { type Axis, leavesOf, sharesLeaf } from '../axes/axis.js'
import type { Value } from '../graph/graph.js'
import {
  type AttentionBlock,
  dataLeaves,
  findOutputProjection,
  type Reading,
  readShape,
  splitOperands,
} from './attention-block.js'
import { isCross } from './cross-attention.js'
import { holdsWeights, isProjection } from './projection.js'
import { isSoftmax, isTransparent, upstream } from './trace.js'

export interface Unnormalised {
  readonly block: AttentionBlock
  /** The product before: scores, or keys times values. */
  readonly inner: Contraction
}

interface Chain {
  readonly inner: Contraction
  /** What the outer product reads of the inner one. */
  readonly weights: Value
  readonly other: Value
  /** What the outer product sums over. */
  readonly summed: Axis
}

/** The block whose last product this is, if it is one. */
export function readUnnormalised(reading: Reading, product: Contraction): Unnormalised | undefined {
  for (const chain of chainsOf(reading, product)) {
    const first = chain.inner.operands[0]?.what
    if (!first) continue
    if (isLearned(first) && !isLearned(chain.summed)) return readScores(reading, product, chain)
    if (!isLearned(first) && isLearned(chain.summed)) return readLinear(reading, product, chain)
  }
  return undefined
}

const isLearned = (axis: Axis): boolean =>
  leavesOf(axis).some((leaf) => leaf.marks.has('projected'))

/** Products of two activations that one operand of this product of activations is made of, one by one. */
function chainsOf({ analysis, byNode, positions }: Reading, product: Contraction): Chain[] {
  const { node } = product
  const isOpen = (value: Value): boolean => !positions.has(value) && !holdsWeights(analysis, value)
  const operands = product.operands.flatMap(({ input, what }) => {
    const value = node.inputs[input]
    return value && isOpen(value) ? [{ value, what }] : []
  })
  if (operands.length < 2) return []
  return operands.flatMap(({ value, what }) => {
    const other = operands.find((each) => each.value !== value)
    const inner = [...upstream(value, (each) => isTransparent(each) && !byNode.has(each))].flatMap(
      (each) => byNode.get(each) ?? [],
    )
    const found = inner.find(
      (each) =>
        each.operands.length === 2 &&
        !isProjection(analysis, each) &&
        each.operands.every(({ input }) => {
          const read = each.node.inputs[input]
          return read && isOpen(read)
        }),
    )
    const output = found?.node.outputs[0]
    const leaves = new Set(leavesOf(what))
    const isFree = output && analysis.axes(output)?.some((axis) => sharesLeaf(axis, leaves))
    return found && other && isFree && !what.size.isOne
      ? [{ inner: found, weights: value, other: other.value, summed: what }]
      : []
  })
}

/** queries · keys → weights · values */
function readScores(
  reading: Reading,
  product: Contraction,
  { inner, weights, other: values, summed }: Chain,
): Unnormalised | undefined {
  const { analysis, byNode, positions } = reading
  const keys = new Set(leavesOf(summed))
  const [queries, keyInput] = splitOperands(analysis, inner, keys)
  const [context] = product.node.outputs
  const [scores] = inner.node.outputs
  if (!queries || !keyInput || !context || !scores) return undefined
  const data = dataLeaves(analysis, byNode, queries)
  const shape = readShape(analysis, weights, keyInput, values, context, keys, data)
  const headSizeAxis = inner.operands[0]?.what
  return {
    inner,
    block: {
      node: product.node,
      kind: isCross(analysis, byNode, positions, queries, keyInput) ? 'cross' : 'self',
      over: 'tokens',
      ...shape,
      headSize: headSizeAxis?.size.value ?? 0,
      headSizeAxis,
      keys: keyInput,
      scores,
      probabilities: weights,
      context,
      outputProjection: findOutputProjection(analysis, byNode, context, shape),
    },
  }
}

/** What a softmax over features was taken of. */
function behindSoftmax(value: Value): Value {
  for (const node of upstream(value)) if (isSoftmax(node) && node.inputs[0]) return node.inputs[0]
  return value
}

/** keysᵀ · values over the tokens → queries · that */
function readLinear(
  reading: Reading,
  product: Contraction,
  { inner, other: queries, summed }: Chain,
): Unnormalised | undefined {
  const { analysis, byNode, positions } = reading
  const channels = new Set(leavesOf(summed))
  const [values, keyInput] = splitOperands(analysis, inner, channels)
  const [context] = product.node.outputs
  if (!values || !keyInput || !context) return undefined
  const data = dataLeaves(analysis, byNode, queries)
  const read = readShape(analysis, queries, keyInput, values, context, channels, data)
  const valueHeadSizeAxis = read.valueHeadSizeAxis ?? summed
  const shape = {
    ...read,
    valueHeadSizeAxis,
    valueHeadSize: valueHeadSizeAxis.size.value ?? 0,
  }
  return {
    inner,
    block: {
      node: product.node,
      kind: isCross(analysis, byNode, positions, behindSoftmax(queries), behindSoftmax(keyInput))
        ? 'cross'
        : 'self',
      over: 'tokens',
      ...shape,
      headSize: summed.size.value ?? 0,
      headSizeAxis: summed,
      keys: keyInput,
      scores: undefined,
      probabilities: undefined,
      context,
      outputProjection: findOutputProjection(analysis, byNode, context, shape),
    },
  }
}
