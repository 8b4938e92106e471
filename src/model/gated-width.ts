/** Whether the width of a feed-forward is gated: made by one product and weighed by another. */
import type { AxisAnalysis } from '../axes/analysis.js'
import { type Axis, leavesOf } from '../axes/axis.js'
import type { Node, Value } from '../graph/graph.js'
import { upstream } from './trace.js'

/** Two different producers, or two parts of one, meet in a product. */
export function isGated(
  analysis: AxisAnalysis,
  hidden: Value,
  axis: Axis,
  through: (node: Node) => boolean,
): boolean {
  const sources = (value: Value): Set<string> => {
    const found = new Set<string>()
    const walk = (each: Value, seen: Set<Value>): void => {
      if (seen.has(each)) return
      seen.add(each)
      const node = each.producer
      if (!node || analysis.isConstant(each)) return
      const isPart = isPartOfSum(analysis, node, each, axis)
      if (!through(node) || isPart) {
        found.add(`${node.id}:${isPart ? partKey(node, each) : 0}`)
        return
      }
      for (const input of node.inputs)
        if (input && hasLeaf(analysis, input, axis)) walk(input, seen)
    }
    walk(value, new Set())
    return found
  }
  for (const node of [...upstream(hidden, through)]) {
    if (node.op !== 'Mul' || node.domain !== '') continue
    const [left, right] = node.inputs
    if (!left || !right || analysis.isConstant(left) || analysis.isConstant(right)) continue
    if (![left, right].every((each) => hasLeaf(analysis, each, axis))) continue
    const [a, b] = [sources(left), sources(right)]
    if (a.size > 0 && b.size > 0 && ![...a].some((each) => b.has(each))) return true
  }
  return false
}

/** A segment cut out of a wider axis: one half of a packed gate and up projection. */
function isPartOfSum(analysis: AxisAnalysis, node: Node, value: Value, axis: Axis): boolean {
  if (!['Split', 'Slice', 'Gather'].includes(node.op)) return false
  const [data] = node.inputs
  const has = (each: Value | undefined): number =>
    ((each && analysis.axes(each)) ?? []).flatMap(leavesOf).filter((leaf) => leaf === axis).length
  const wider = (each: Value | undefined): number =>
    ((each && analysis.axes(each)) ?? []).reduce((size, one) => size * (one.size.value ?? 1), 1)
  return has(value) > 0 && wider(data) > wider(value)
}

export const hasLeaf = (analysis: AxisAnalysis, value: Value, leaf: Axis): boolean =>
  (analysis.axes(value) ?? []).some((axis) => leavesOf(axis).includes(leaf))

const partKey = (node: Node, value: Value): string =>
  node.op === 'Split' ? `${node.outputs.indexOf(value)}` : `${node.id}`
