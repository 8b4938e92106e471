/**
 * (A·B)·c as (A·c)·B where A is smaller than the product: attention's scores are scaled where they are queries, which
 * spares a pass over all pairs of tokens, and another one backwards.
 */
import type { GraphEdit } from '../graph/edit.js'
import type { Node, Value } from '../graph/graph.js'
import { elementCount } from '../onnx/tensor.js'
import type { ShapeInfo } from '../shape/infer.js'

/** How many there were. */
export function scaleFirst(edit: GraphEdit, shapes: ShapeInfo): number {
  let count = 0
  for (const node of [...edit.graph.nodes()]) {
    const [output] = node.outputs
    const scaled = output && !output.isGraphOutput ? productOf(node) : undefined
    if (!output || !scaled) continue
    const [product, constant] = scaled
    const [a, b] = product.inputs as [Value, Value]
    if (!isSmaller(shapes.dims(a), shapes.dims(output))) continue
    const before = edit.add(node.op, [a, constant], { before: node })
    const result = edit.add('MatMul', [before, b], { before: node })
    edit.replaceUses(output, result)
    edit.erase(node)
    edit.erase(product)
    count++
  }
  return count
}

/** The MatMul that a number is multiplied to, or divides, where nothing else reads it; and the number. */
function productOf({ op, inputs }: Node): readonly [Node, Value] | undefined {
  if (op !== 'Mul' && op !== 'Div') return undefined
  for (const [at, value] of inputs.entries()) {
    const constant = inputs[1 - at]
    const product = value?.producer
    if (op === 'Div' && at === 1) return undefined
    if (product?.op !== 'MatMul' || product.domain !== '' || value?.uses.size !== 1) continue
    if (value.isGraphOutput || !constant?.constant) continue
    if (elementCount(constant.constant.dims) === 1 && constant.constant.dims.length <= 1)
      return [product, constant]
  }
  return undefined
}

/** By all that is known: sizes that are open are not compared. */
function isSmaller(
  a: ReturnType<ShapeInfo['dims']>,
  whole: ReturnType<ShapeInfo['dims']>,
): boolean {
  const count = (sizes: typeof a): number =>
    (sizes ?? []).reduce((product, { value }) => product * (value ?? Number.NaN), 1)
  return count(a) < count(whole)
}
