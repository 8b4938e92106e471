/**
 * Walks between the products of a graph: through operators that work member by member or only move
 * members, stopping where something is contracted, normalised or looked up.
 */

import { isElementwise } from '../axes/rules/elementwise.js'
import type { Node, Value } from '../graph/graph.js'

const movers = new Set(
  `Reshape Transpose Squeeze Unsqueeze Flatten Slice Concat Split Expand Tile Pad Identity Gather
GatherElements GatherND ScatterElements ScatterND`.split(/\s+/),
)

/** Whether an operator only moves members, or picks some. */
export const isMover = (node: Node): boolean => node.domain === '' && movers.has(node.op)

/** Operands of a mover that say where, not what. */
const isPosition = (node: Node, index: number): boolean =>
  movers.has(node.op) && node.op !== 'Concat' && index > 0 && !isScatteredData(node, index)

const isScatteredData = (node: Node, index: number): boolean =>
  node.op.startsWith('Scatter') && index === 2

/** Whether an operator tells a size and nothing of the members. */
export const isMeasure = (node: Node): boolean => node.op === 'Shape' || node.op === 'Size'

/** Whether a value is the step or the zero of a rounding to codes: it tells of all members, and is none of them. */
const isGrid = (value: Value): boolean =>
  value.producer?.op === 'DynamicQuantizeLinear' && value.producer.outputs[0] !== value

/** Whether an operator makes shares of members that sum to one. */
export const isSoftmax = ({ op }: Node): boolean => op === 'Softmax' || op === 'QLinearSoftmax'

/** Whether an operator norms members beside each other, and does nothing else. */
export const isNorm = ({ op }: Node): boolean =>
  op.includes('Normalization') && !op.startsWith('Skip')

/** Whether an operator runs over positions, its weights of every direction in one constant. */
export const isRecurrence = ({ op }: Node): boolean =>
  ['RNN', 'GRU', 'LSTM', 'DynamicQuantizeLSTM'].includes(op)

/** Whether members pass this operator without seeing each other. */
export const isTransparent = (node: Node): boolean => isElementwise(node) || isMover(node)

/**
 * Nodes that are reached from `start` against the flow, nearest first. Goes through a node where
 * `through` says so; every node reached is reported once.
 */
export function* upstream(
  start: Value,
  through: (node: Node) => boolean = isTransparent,
): IterableIterator<Node> {
  const seen = new Set<Node>()
  const queue: Value[] = [start]
  for (let at = 0; at < queue.length; at++) {
    const node = queue[at]?.producer
    if (!node || seen.has(node)) continue
    seen.add(node)
    yield node
    if (!through(node)) continue
    for (const [index, input] of node.inputs.entries())
      if (input && !isPosition(node, index) && !isGrid(input)) queue.push(input)
  }
}

/** Reads of a value and of what becomes of it, nearest first, through nodes that `through` accepts. */
export function* downstream(
  start: Value,
  through: (node: Node) => boolean = isTransparent,
): IterableIterator<{ readonly node: Node; readonly index: number }> {
  const seen = new Set<Node>()
  const queue: Value[] = [start]
  for (let at = 0; at < queue.length; at++)
    for (const use of queue[at]?.uses ?? []) {
      if (seen.has(use.node)) continue
      seen.add(use.node)
      yield use
      if (!through(use.node) || isPosition(use.node, use.index)) continue
      for (const output of use.node.outputs) if (output && !isGrid(output)) queue.push(output)
    }
}

/**
 * Every node whose result `value` depends on, nearest first, operands that say where included; what is before a
 * node that `through` refuses is left out.
 */
export function* ancestorsOf(
  value: Value,
  through: (node: Node) => boolean = () => true,
): IterableIterator<Node> {
  const seen = new Set<Node>()
  const queue: Value[] = [value]
  for (let at = 0; at < queue.length; at++) {
    const node = queue[at]?.producer
    if (!node || seen.has(node)) continue
    seen.add(node)
    yield node
    if (!through(node)) continue
    for (const input of node.inputs) if (input) queue.push(input)
  }
}

/** Whether `value` depends on `source`, or on another result of the node that makes `source`. */
export function dependsOn(value: Value, source: Value): boolean {
  const isSource = (each: Value): boolean =>
    each === source || (source.producer !== undefined && each.producer === source.producer)
  if (isSource(value)) return true
  const queue = [value]
  const seen = new Set<Value>(queue)
  for (let at = 0; at < queue.length; at++)
    for (const input of queue[at]?.producer?.inputs ?? []) {
      if (!input || seen.has(input)) continue
      if (isSource(input)) return true
      seen.add(input)
      queue.push(input)
    }
  return false
}
