/**
 * Heads over edges often end in no product: what they say is laid end to end into the stream, beside what a
 * weight of the target itself adds, under a norm or a gate. There the stream keeps its width, and the heads
 * get an axis of their own (axes/seam.ts).
 */
import type { AxisAnalysis } from '../axes/analysis.js'
import { type Axis, leavesOf } from '../axes/axis.js'
import { isElementwise } from '../axes/rules/elementwise.js'
import type { Node, Value } from '../graph/graph.js'
import type { AttentionBlock } from './attention-block.js'
import { isMeasure, isMover, isTransparent, upstream } from './trace.js'

/** Values that hold heads side by side in their last axis, and that no weight takes in; one a block at most. */
export function findSeams(analysis: AxisAnalysis, blocks: readonly AttentionBlock[]): Set<Value> {
  const products = new Set(analysis.contractions.map(({ node }) => node))
  return new Set(
    blocks.flatMap((block) => {
      const flat = block.over === 'edges' ? laidFlat(analysis, block) : undefined
      return flat && !endsInProducts(analysis, products, flat) ? [flat] : []
    }),
  )
}

/** What a block says with its heads and their members in the last axis, and nothing else there. */
function laidFlat(analysis: AxisAnalysis, block: AttentionBlock): Value | undefined {
  const { keyValueHeadAxes, groupAxes, valueHeadSizeAxis } = block
  const heads = [...keyValueHeadAxes, ...groupAxes]
  const members = valueHeadSizeAxis ? leavesOf(valueHeadSizeAxis) : []
  const isFlat = (value: Value): boolean => {
    const own = leavesOf(analysis.axes(value)?.at(-1) as Axis)
    return [...heads, ...members].every((leaf) => own.includes(leaf))
  }
  let value = block.context
  for (let steps = 8; steps > 0; steps--) {
    if (!analysis.axes(value)?.length) return undefined
    if (isFlat(value)) return value
    const reads = [...value.uses].filter(({ node }) => !isMeasure(node))
    const next = reads.length === 1 ? reads[0]?.node : undefined
    const [output] = next?.outputs ?? []
    if (!next || !output || !isMover(next) || next.op.startsWith('Scatter')) return undefined
    value = output
  }
  return undefined
}

/** Whether a value only goes, member by member, into products that sum over it. */
function endsInProducts(
  analysis: AxisAnalysis,
  products: ReadonlySet<Node>,
  start: Value,
): boolean {
  const seen = new Set<Value>([start])
  for (const value of seen) {
    if (value.isGraphOutput) return false
    for (const { node } of value.uses) {
      if (products.has(node) || isMeasure(node)) continue
      const others = node.inputs.filter((each) => each && !seen.has(each))
      const passes = isTransparent(node) || node.op === 'BatchNormalization'
      if (!passes || others.some((each) => each && hasMembers(analysis, products, each)))
        return false
      for (const output of node.outputs) if (output) seen.add(output)
    }
  }
  return true
}

/** Whether a value has members of its own to lose: what a product made, a norm, an input. */
function hasMembers(analysis: AxisAnalysis, products: ReadonlySet<Node>, value: Value): boolean {
  if (analysis.isConstant(value)) return false
  if (value.isGraphInput) return true
  const through = (node: Node): boolean =>
    (isElementwise(node) || isMover(node)) && !products.has(node)
  for (const node of upstream(value, through))
    if (!through(node) && !isMeasure(node) && node.op !== 'ConstantOfShape') return true
  return false
}
