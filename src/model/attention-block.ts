/** An attention block as the axes show it, and how its heads, sizes and output projection are read. */
import type { AxisAnalysis, Contraction } from '../axes/analysis.js'
import { type Axis, leavesOf, sharesLeaf } from '../axes/axis.js'
import type { Node, Value } from '../graph/graph.js'
import { isProjection } from './projection.js'
import { downstream, isTransparent, upstream } from './trace.js'

export interface AttentionBlock {
  /** The softmax, the fused operator, or the product with the values where there is neither. */
  readonly node: Node
  readonly kind: 'self' | 'cross'
  /** What keys are: all tokens, or the edges of a graph that end in the query. */
  readonly over: 'tokens' | 'edges'
  readonly heads: number
  readonly keyValueHeads: number
  readonly headSize: number
  readonly valueHeadSize: number
  /** Leaves of the axis of key-value heads, of query heads per key-value head, and of the head sizes. */
  readonly keyValueHeadAxes: readonly Axis[]
  readonly groupAxes: readonly Axis[]
  readonly headSizeAxis: Axis | undefined
  readonly valueHeadSizeAxis: Axis | undefined
  /** What the keys are made from, after projection. */
  readonly keys: Value
  /** Scores before the softmax's mask; undefined where a fused operator hides them. */
  readonly scores: Value | undefined
  readonly probabilities: Value | undefined
  /** What the heads say, before the output projection. */
  readonly context: Value
  /** The product with a constant that takes the context back to the hidden width, if there is one. */
  readonly outputProjection: Contraction | undefined
}

/** What all ways of reading share. */
export interface Reading {
  readonly analysis: AxisAnalysis
  readonly byNode: ReadonlyMap<Node, Contraction>
  /** Values that depend on constants and on the sizes of inputs alone. */
  readonly positions: ReadonlySet<Value>
}

/** Queries and keys of a product: keys are the activation that has the softmax's axis free. */
export function splitOperands(
  analysis: AxisAnalysis,
  contraction: Contraction,
  keys: ReadonlySet<Axis>,
): [queries: Value | undefined, keys: Value | undefined] {
  if (contraction.operands.length !== 2) return [undefined, undefined]
  const candidates = contraction.operands.toReversed().flatMap((operand) => {
    const value = contraction.node.inputs[operand.input]
    const axes = (value && analysis.axes(value)) ?? []
    const free = axes.filter((_, index) => index !== operand.axis)
    const has = isSingle(keys)
      ? axes.length > 2 && free.at(-1)?.size.isOne
      : free.some((axis) => !axis.size.isOne && sharesLeaf(axis, keys))
    return value && has && !analysis.isConstant(value) ? [operand] : []
  })
  const [keyOperand] = candidates
  const other = contraction.operands.find((operand) => operand !== keyOperand)
  if (!keyOperand || !other) return [undefined, undefined]
  return [contraction.node.inputs[other.input], contraction.node.inputs[keyOperand.input]]
}

export const isSingle = (keys: ReadonlySet<Axis>): boolean =>
  keys.size === 1 && [...keys].every(({ size }) => size.isOne)

type Shape = Pick<
  AttentionBlock,
  | 'heads'
  | 'keyValueHeads'
  | 'valueHeadSize'
  | 'keyValueHeadAxes'
  | 'groupAxes'
  | 'valueHeadSizeAxis'
>

/**
 * Heads are the batch axes of what weighs the values that projections make; the rest of the batch is
 * data. Where heads are mixed before, those of the values may be others than those of the keys.
 */
export function readShape(
  analysis: AxisAnalysis,
  weights: Value,
  keyInput: Value,
  valueInput: Value,
  context: Value,
  keys: ReadonlySet<Axis>,
  data: ReadonlySet<Axis>,
): Shape {
  const scoreLeaves = (analysis.axes(weights) ?? []).flatMap(leavesOf)
  const contextAxes = analysis.axes(context) ?? []
  const contextLeaves = new Set(contextAxes.flatMap(leavesOf))
  const headLeaves = [...new Set(scoreLeaves)].filter(
    (leaf) =>
      leaf.marks.has('projected') &&
      !keys.has(leaf) &&
      !data.has(leaf) &&
      leaf.size.value !== undefined &&
      contextLeaves.has(leaf),
  )
  const valueAxes = analysis.axes(valueInput) ?? []
  const ofKeys = headLeaves.filter((leaf) => isOriginal(analysis, keyInput, leaf))
  const keyValueHeadAxes =
    ofKeys.length > 0 ? ofKeys : headLeaves.filter((leaf) => isOriginal(analysis, valueInput, leaf))
  const groupAxes = headLeaves.filter((leaf) => !keyValueHeadAxes.includes(leaf))
  const scoreSet = new Set(scoreLeaves)
  const valueHeadSizeAxis = valueAxes.findLast(
    (axis) => !axis.size.isOne && !sharesLeaf(axis, scoreSet) && !sharesLeaf(axis, keys),
  )
  return {
    heads: sizeOfAll(headLeaves),
    keyValueHeads: sizeOfAll(keyValueHeadAxes),
    valueHeadSize: valueHeadSizeAxis?.size.value ?? 1,
    keyValueHeadAxes,
    groupAxes,
    valueHeadSizeAxis,
  }
}

/** What queries have before they are projected, such as windows of an image: no heads. */
export const dataLeaves = (
  analysis: AxisAnalysis,
  byNode: ReadonlyMap<Node, Contraction>,
  queries: Value,
): Set<Axis> => leavesBefore(analysis, byNode, queries).data

/** Leaves of what is projected, and of the weights of all projections on the way. */
function leavesBefore(
  analysis: AxisAnalysis,
  byNode: ReadonlyMap<Node, Contraction>,
  projected: Value,
): { readonly data: Set<Axis>; readonly weights: Set<Axis> } {
  for (const node of upstream(projected)) {
    const contraction = byNode.get(node)
    if (!contraction || !isProjection(analysis, contraction)) continue
    const [open, fixed] = [false, true].map((isWeight) =>
      node.inputs.flatMap((input) =>
        input && analysis.isConstant(input) === isWeight
          ? (analysis.axes(input) ?? []).flatMap(leavesOf)
          : [],
      ),
    )
    // Heads that are projected once more, each for itself, come out of the weights before.
    const source = node.inputs.find((input) => input && !analysis.isConstant(input))
    const before = source && leavesBefore(analysis, byNode, source)
    const weights = new Set([...(fixed ?? []), ...(before?.weights ?? [])])
    const own = (open ?? []).filter((leaf) => !weights.has(leaf))
    return { data: new Set([...own, ...(before?.data ?? [])]), weights }
  }
  return { data: new Set(), weights: new Set() }
}

/** Whether a leaf of a value comes from where the value is projected or fed, not from a repetition. */
export function isOriginal(analysis: AxisAnalysis, value: Value, leaf: Axis): boolean {
  const has = (each: Value): boolean =>
    (analysis.axes(each) ?? []).some((axis) => leavesOf(axis).includes(leaf))
  const seen = new Set<Value>()
  const queue = [value].filter(has)
  for (let at = 0; at < queue.length; at++) {
    const node = queue[at]?.producer
    if (!node || !isTransparent(node)) return true
    // Put together from single members that were taken apart before.
    if (node.op === 'Concat' && !node.inputs.some((input) => input && has(input))) return true
    for (const input of node.inputs) {
      if (!input || seen.has(input) || !has(input)) continue
      seen.add(input)
      queue.push(input)
    }
  }
  return false
}

/** Where a value is made: the nearest product, or the value itself where there is none. */
export function sourceOf(analysis: AxisAnalysis, value: Value): Node | Value {
  const products = new Set(analysis.contractions.map(({ node }) => node))
  for (const node of upstream(value, (each) => isTransparent(each) && !products.has(each)))
    if (products.has(node)) return node
  return value
}

export const sizeOfAll = (axes: readonly Axis[]): number =>
  axes.reduce((product, axis) => product * (axis.size.value ?? 1), 1)

/** The product with a constant that contracts heads and value head size. */
export function findOutputProjection(
  analysis: AxisAnalysis,
  byNode: ReadonlyMap<Node, Contraction>,
  context: Value,
  shape: Pick<AttentionBlock, 'keyValueHeadAxes' | 'groupAxes' | 'valueHeadSizeAxis'>,
): Contraction | undefined {
  const wanted = new Set([
    ...shape.keyValueHeadAxes,
    ...shape.groupAxes,
    ...(shape.valueHeadSizeAxis ? leavesOf(shape.valueHeadSizeAxis) : []),
  ])
  for (const { node } of downstream(context, isTransparentOrNorm)) {
    const contraction = byNode.get(node)
    if (
      contraction &&
      isProjection(analysis, contraction) &&
      contraction.operands.some(({ what }) => sharesLeaf(what, wanted))
    )
      return contraction
  }
  return undefined
}

const isTransparentOrNorm = (node: Node): boolean =>
  !['MatMul', 'Gemm', 'Einsum', 'Conv', 'MatMulInteger', 'MatMulNBits', 'Softmax'].includes(node.op)
