/** Where a branch of a block joins the residual stream again. */
import type { AxisAnalysis, Contraction } from '../axes/analysis.js'
import { isElementwise } from '../axes/rules/elementwise.js'
import type { Node, Value } from '../graph/graph.js'
import { dependsOn, downstream, isNorm, isTransparent } from './trace.js'

export const roundings = ['QuantizeLinear', 'DequantizeLinear', 'Cast', 'Identity']

/** The addition that brings the branch, which began with `source`, back to a stream it came from. */
export function findJoin(
  analysis: AxisAnalysis,
  node: Node,
  source: Value | undefined,
  isExpert: boolean,
): Node | undefined {
  const [output] = node.outputs
  if (!output || !source) return undefined
  const mixers = isExpert ? findMixers(analysis, output) : undefined
  return joinOf(
    analysis,
    output,
    source,
    (each) => isBranchStep(each) || mixers?.has(each) === true,
  )
}

/** Products of two activations, by which experts' answers are put together: their columns stay. */
function findMixers(analysis: AxisAnalysis, output: Value): Set<Node> {
  const columns = analysis.axes(output)?.at(-1)?.root
  const isKept = ({ node, operands }: Contraction): boolean =>
    operands.length > 1 &&
    operands.every(({ input, what }) => {
      const value = node.inputs[input]
      return value && !analysis.isConstant(value) && what.root !== columns
    }) &&
    node.outputs[0] !== undefined &&
    analysis.axes(node.outputs[0])?.at(-1)?.root === columns
  return new Set(analysis.contractions.filter(isKept).map(({ node }) => node))
}

/** The addition, downstream of `output`, of something that `source` was made from. */
export function joinOf(
  analysis: AxisAnalysis,
  output: Value,
  source: Value,
  isStep: (node: Node) => boolean = isBranchStep,
): Node | undefined {
  for (const { node: next, index } of downstream(output, isStep)) {
    const isAdd = next.op === 'Add' && next.domain === ''
    const isQuantised = next.op === 'QLinearAdd'
    const isSkip = next.op.startsWith('Skip')
    if (!isAdd && !isQuantised && !isSkip) continue
    const other = next.inputs[index > 0 ? 0 : isQuantised ? 3 : 1]
    if (!other || analysis.isConstant(other)) continue
    if (dependsOn(source, other)) return next
    if (isSumWith(analysis, next, other, source)) return next
  }
  return undefined
}

/** What `source` was made from, scaled or gated, or with another block's result added already; of its width. */
function isSumWith(analysis: AxisAnalysis, next: Node, value: Value, source: Value): boolean {
  let { producer } = value
  while (producer && roundings.includes(producer.op)) producer = producer.inputs[0]?.producer
  if (producer?.domain !== '') return false
  const open = producer.inputs.flatMap((input) =>
    input && !analysis.isConstant(input) ? [input] : [],
  )
  const isSum = producer.op === 'Add'
  const isScale = open.length === 1 && ['Cast', 'Identity'].includes(producer.op)
  // By a number, or by a gate that says how much of it stays.
  const isGated = producer.op === 'Mul'
  const stream = next.outputs[0] && analysis.axes(next.outputs[0])?.at(-1)
  // Experts that were chosen read columns: [rows, width, 1].
  const isOneWidth = analysis.axes(source)?.some(({ root }) => root === stream?.root)
  // Streams beside each other, put together anew by numbers that they say themselves.
  const isMixed = producer.op === 'MatMul' && open.length === 2
  const isJoined = isSum || isScale || isGated || isMixed
  return isJoined && isOneWidth === true && open.some((each) => dependsOn(source, each))
}

const isBranchStep = (node: Node): boolean =>
  isElementwise(node) || isTransparent(node) || isNorm(node) || node.op.startsWith('Reduce')
