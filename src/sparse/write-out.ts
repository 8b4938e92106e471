/** Fused attention in plain operators, so that there is one form to read. Outputs keep their names. */
import { isFusedAttention } from '../axes/rules/attention.js'
import type { GraphEdit } from '../graph/edit.js'
import { eraseReplaced } from '../graph/erase-replaced.js'
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
    if (edit.graph.nodesById.has(node.id)) eraseReplaced(edit, node, replaced)
  return readModel(edit.graph)
}
