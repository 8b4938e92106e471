/**
 * Casts to the type that a value has anyway: exporters write them where a model was to compute in single precision
 * whatever it is loaded in. In the other precision they would become two real ones.
 */
import type { GraphEdit } from '../graph/edit.js'
import { intAttribute } from '../graph/graph.js'
import { dataTypeCode } from '../onnx/data-type.js'
import type { ShapeInfo } from '../shape/infer.js'

/** How many there were. */
export function eraseIdleCasts(edit: GraphEdit, shapes: ShapeInfo): number {
  let count = 0
  for (const node of [...edit.graph.nodes()]) {
    const [input] = node.inputs
    const [output] = node.outputs
    if (node.op !== 'Cast' || !input || !output || output.isGraphOutput) continue
    const type = shapes.dataType(input)
    if (!type || dataTypeCode(type) !== intAttribute(node, 'to', 0)) continue
    edit.replaceUses(output, input)
    edit.erase(node)
    count++
  }
  return count
}
