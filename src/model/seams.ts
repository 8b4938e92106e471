/**
 * Heads over edges often end in no product: what they say is laid end to end into the stream, beside what a
 * weight of the target itself adds, under a norm or a gate. Heads over tokens do so where a block has no output
 * projection, as in many recommenders. There the stream keeps its width, and the heads get an axis of their own
 * (axes/seam.ts).
 */
import type { AxisAnalysis } from '../axes/analysis.js'
import { type Axis, leavesOf, sharesLeaf } from '../axes/axis.js'
import { isElementwise } from '../axes/rules/elementwise.js'
import type { Node, Value } from '../graph/graph.js'
import type { AttentionBlock } from './attention-block.js'
import { dependsOn, downstream, isMeasure, isMover, isTransparent, upstream } from './trace.js'

/** Values that hold heads side by side in their last axis, and that no weight takes in; one a block at most. */
export function findSeams(analysis: AxisAnalysis, blocks: readonly AttentionBlock[]): Set<Value> {
  const products = new Set(analysis.contractions.map(({ node }) => node))
  return new Set(
    blocks.flatMap((block) => {
      const isLaid = block.over === 'edges' || isAddedToInput(analysis, block)
      const flat = isLaid ? laidFlat(analysis, block) : undefined
      return flat && !endsInProducts(analysis, products, flat) ? [flat] : []
    }),
  )
}

/** Whether something that the block reads is added to what its heads say before a product takes that in. */
function isAddedToInput(analysis: AxisAnalysis, { context, ...block }: AttentionBlock): boolean {
  const heads = new Set([...block.keyValueHeadAxes, ...block.groupAxes])
  for (const { node, index } of downstream(context)) {
    const other = node.op === 'Add' ? node.inputs[1 - index] : undefined
    const sum = node.outputs[0] && analysis.axes(node.outputs[0])
    const isOfHeads = heads.size === 0 || sum?.some((axis) => sharesLeaf(axis, heads))
    if (other && !other.constant && isOfHeads && dependsOn(context, other)) return true
  }
  return false
}

/** What a block says with its heads and their members in the last axis. */
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
    const next = nextOf(value)
    if (!next) return undefined
    value = next
  }
  return undefined
}

/** What readers make of a value, member by member; what several make comes together there. */
function nextOf({ uses }: Value): Value | undefined {
  const readers = new Set([...uses].map(({ node }) => node).filter((node) => !isMeasure(node)))
  const isPassed = (node: Node): boolean => isTransparent(node) && !node.op.startsWith('Scatter')
  if (![...readers].every(isPassed)) return undefined
  const made = [...readers].flatMap(({ outputs }) => outputs.filter((each) => each !== undefined))
  if (made.length === 1) return made[0]
  const [result, another] = new Set(made.map(nextOf))
  return another ? undefined : result
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
