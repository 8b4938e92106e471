/**
 * What a block lacks once units are gone that no weight mixes, said once for all rows: their mean, added where
 * something is added anyway.
 */
import type { GraphEdit } from '../graph/edit.js'
import type { Graph, Node } from '../graph/graph.js'
import type { DataType } from '../onnx/data-type.js'
import { addToBias, findBias } from './bias.js'
import type { Block } from './block.js'
import { isMeasure } from './trace.js'

/** Columns of the stream that a block writes to. */
export const columnsOf = ({ contraction, width, sizes }: Block): number =>
  contraction.share === undefined ? width : width / (sizes[0] ?? 1)

/** Whether a constant can be added to what a block says. */
export const canShiftUnmixed = (graph: Graph, block: Block): boolean =>
  findTaker(graph, block) !== undefined

/** Adds `shift`, [columns]; `change` may be of a copy of the block's graph, with the same names. */
export function shiftUnmixed(
  change: GraphEdit,
  block: Block,
  shift: Float32Array,
  type: DataType | undefined,
): void {
  const taker = findTaker(change.graph, block)
  if (taker) addToBias(change, taker, shift, type)
}

/**
 * The node whose result takes the constant in: what is added to what heads say, if it has a constant of its own,
 * or the sum of both. Behind a gate there is none.
 */
function findTaker(graph: Graph, block: Block): Node | undefined {
  const value = graph.values.get(block.input.name)
  const [read, another] = [...(value?.uses ?? [])].filter(({ node }) => !isMeasure(node))
  if (!value || !read || another || value.isGraphOutput) return undefined
  const { node } = read
  const columns = columnsOf(block)
  const isOpen = (each: Node | undefined): each is Node =>
    each?.outputs[0] !== undefined && !each.outputs[0].isGraphOutput
  if (block.contraction.share !== undefined) return isOpen(node) ? node : undefined
  if (node.op !== 'Add' || node.domain !== '') return undefined
  const beside = node.inputs.find((each) => each !== value)
  const isOwn = beside?.uses.size === 1 && !beside.isGraphOutput
  for (const each of [value.producer, isOwn ? beside.producer : undefined])
    if (each && findBias(each, columns)) return each
  return isOpen(node) ? node : undefined
}
