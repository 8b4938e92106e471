/**
 * 1/√x as a quotient where it was the reciprocal of a root: the same work, but ONNX Runtime's
 * fusion of root mean square norms (SimplifiedLayerNormFusion) reads the quotient alone, and makes
 * one pass of six.
 */
import type { GraphEdit } from '../graph/edit.js'
import type { Value } from '../graph/graph.js'
import { tensorOf, toConstant } from '../onnx/numbers.js'
import type { ShapeInfo } from '../shape/infer.js'

/** How many there were. */
export function quotientsOfRoots(edit: GraphEdit, shapes: ShapeInfo): number {
  const ones = new Map<string, Value>()
  let count = 0
  for (const node of [...edit.graph.nodes()]) {
    const [root] = node.inputs
    const [output] = node.outputs
    if (node.op !== 'Reciprocal' || node.domain !== '' || root?.producer?.op !== 'Sqrt') continue
    const type = shapes.dataType(root)
    if (!output || output.isGraphOutput || (type !== 'float32' && type !== 'float16')) continue
    const one = ones.get(type) ?? edit.constant(toConstant(tensorOf(type, [], [1])))
    ones.set(type, one)
    edit.replaceUses(output, edit.add('Div', [one, root], { before: node }))
    edit.erase(node)
    count++
  }
  return count
}
