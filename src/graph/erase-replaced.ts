/** Takes away a node whose outputs others stand for now. */
import type { GraphEdit } from './edit.js'
import type { Node, Value } from './graph.js'

/**
 * Nothing in the graph may read the outputs any more; those that are the graph's own are made anew, by their
 * names. A node of which an output has no stand-in stays.
 */
export function eraseReplaced(
  edit: GraphEdit,
  node: Node,
  replaced: ReadonlyMap<Value, Value>,
): void {
  const { graph } = edit
  const outputs = node.outputs.filter((value) => value?.isGraphOutput) as Value[]
  if (outputs.some((value) => !replaced.has(value))) return
  const places = outputs.map((value) => graph.outputs.indexOf(value))
  for (const value of outputs) edit.hide(value)
  edit.erase(node)
  for (const [index, { name, type }] of outputs.entries()) {
    const source = replaced.get(outputs[index] as Value) as Value
    const [copy] = edit.addNode({ op: 'Identity', inputs: [source], outputs: [name] }).outputs
    if (!copy) continue
    edit.setType(copy, type)
    graph.outputs.splice(places[index] as number, 0, copy)
  }
}
