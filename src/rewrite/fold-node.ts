/** What is the same in every run becomes a constant where it is read. */
import type { GraphEdit } from '../graph/edit.js'
import type { Node } from '../graph/graph.js'
import type { ShapeInfo } from '../shape/infer.js'

/** Whether all outputs of the node are constants now: then nothing reads it any more, but as an output of the graph. */
export function foldNode(edit: GraphEdit, node: Node, shapes: ShapeInfo): boolean {
  const known = node.outputs.map((output) => output && shapes.constant(output))
  for (const [index, output] of node.outputs.entries()) {
    const tensor = known[index]
    if (output && tensor && output.uses.size > 0)
      edit.replaceUses(output, edit.constant(tensor, output.name))
  }
  return known.every(Boolean)
}
