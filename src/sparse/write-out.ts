/** Fused attention in plain operators, so that there is one form to read. Outputs keep their names. */
import { isFusedAttention } from '../axes/rules/attention.js'
import type { GraphEdit } from '../graph/edit.js'
import type { Node, Value } from '../graph/graph.js'
import { readModel, type TransformerModel } from '../model/model.js'
import type { LayeredAttention } from '../model/model-dimension.js'
import { lowerNodes } from '../train/lower/lower.js'

/** The model as it is then. Errors: those of lowerings. */
export function writeOut(
  edit: GraphEdit,
  view: TransformerModel,
  blocks: readonly LayeredAttention[],
): TransformerModel {
  const fused = blocks
    .flatMap(({ node, scores, context }) => [node, scores?.producer, context.producer])
    .filter((node) => node !== undefined)
    .filter((node) => isFusedAttention(node) || node.op === 'FusedMatMul')
  if (fused.length === 0) return view
  const nodes = [...new Set(fused)]
  const replaced = lowerNodes(edit, nodes)
  for (const node of nodes)
    if (edit.graph.nodesById.has(node.id)) renameOutputs(edit, node, replaced)
  return readModel(edit.graph)
}

/** An operator that stayed because its outputs are the graph's: they are made anew, by their names. */
function renameOutputs(edit: GraphEdit, node: Node, replaced: ReadonlyMap<Value, Value>): void {
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
