/**
 * Whether queries and keys are made of the same stream: followed back through the graph, as no name says
 * which tensors are an encoder's.
 */
import type { AxisAnalysis, Contraction } from '../axes/analysis.js'
import { leavesOf } from '../axes/axis.js'
import { isFusedAttention } from '../axes/rules/attention.js'
import type { Node, Value } from '../graph/graph.js'
import { isFloating } from '../onnx/data-type.js'
import { isProjection } from './projection.js'
import { isMeasure, isSoftmax, upstream } from './trace.js'

/**
 * Cross-attention reads keys of another stream than the queries'. Both are followed back past the blocks
 * that wrote to them, but not into what those blocks read: two streams may read each other. Features that two
 * towers embed each on its own make them no one stream, and neither do positions.
 */
export function isCross(
  analysis: AxisAnalysis,
  byNode: ReadonlyMap<Node, Contraction>,
  positions: ReadonlySet<Value>,
  queries: Value,
  keyInput: Value,
): boolean {
  if (analysis.isConstant(queries)) return true
  const isOwn = (node: Node): boolean => {
    if (isFusedAttention(node) || isSoftmax(node) || isMeasure(node)) return false
    const contraction = byNode.get(node)
    return !contraction || isProjection(analysis, contraction)
  }
  const own = valuesBehind(analysis, queries, isOwn)
  const sources = valuesBehind(analysis, keyInput, isOwn)
  const isStream = (value: Value): boolean =>
    (analysis.axes(value) ?? []).some((axis) =>
      leavesOf(axis).some((leaf) => leaf.marks.has('projected')),
    )
  // Queries that are learned are positions themselves; a scale of both is no stream.
  const isPosition = positions.has(queries)
  const isNumber = (value: Value): boolean =>
    (analysis.axes(value) ?? []).every(({ size }) => size.isOne)
  const shared = [...own].filter(
    (value) => sources.has(value) && !isNumber(value) && (isPosition || !positions.has(value)),
  )
  if (shared.some(isStream)) return false
  if (shared.length === 0) return true
  // Numbers that are fed as they are: queries and keys are made of them at once, or not at all.
  const isDirect = (node: Node): boolean => isOwn(node) && !isNormalised(node)
  const near = valuesBehind(analysis, queries, isDirect)
  const others = valuesBehind(analysis, keyInput, isDirect)
  return !shared.some((value) => near.has(value) && others.has(value))
}

const isNormalised = (node: Node): boolean => node.op.includes('Normalization')

/** What flows into a value, itself included: results of nodes, and inputs that hold numbers. */
function valuesBehind(
  analysis: AxisAnalysis,
  value: Value,
  through: (node: Node) => boolean,
): Set<Value> {
  const found = new Set([value])
  const add = (each: Value | undefined): void => {
    if (each && !analysis.isConstant(each)) found.add(each)
  }
  for (const node of upstream(value, through)) {
    if (!isMeasure(node)) node.outputs.forEach(add)
    if (!through(node)) continue
    for (const input of node.inputs)
      if (input && !input.producer && isFloating(analysis.shapes.dataType(input) ?? 'int64'))
        add(input)
  }
  return found
}
