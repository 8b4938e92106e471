/**
 * Sizes of inputs written into a graph whose every run has the same: what is computed of sizes alone becomes
 * constants. That is a third of the nodes of an exported model's step, and all of those that a GPU would have to
 * wait for the processor with.
 */
import type { GraphEdit } from '../graph/edit.js'
import type { Value } from '../graph/graph.js'
import { inferShapes } from '../shape/infer.js'
import { eraseUnread } from './erase-unread.js'
import { foldNode } from './fold-node.js'

/** Inputs that `sizesOf` says nothing of, or sizes of another rank, stay as they are. */
export function fixSizes(
  edit: GraphEdit,
  sizesOf: (input: Value) => readonly number[] | undefined,
): void {
  const { graph } = edit
  for (const input of graph.inputs) {
    const dims = sizesOf(input)
    if (dims && input.type?.dims?.length === dims.length)
      edit.setType(input, { ...input.type, dims })
  }
  const shapes = inferShapes(graph)
  for (const node of [...graph.nodes()]) {
    if (!graph.nodesById.has(node.id) || node.op === 'Constant') continue
    if (foldNode(edit, node, shapes)) eraseUnread(edit, node)
  }
}
