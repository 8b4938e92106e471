/**
 * x·σ(x) as one operator. Written as two, both x and σ(x) are kept for the backward pass, and the product's
 * reader besides; of one, x is enough. ONNX Runtime makes the same of it where it may.
 */
import type { GraphEdit } from '../../graph/edit.js'
import type { Node, Value } from '../../graph/graph.js'
import type { ShapeInfo } from '../../shape/infer.js'

/** What stands for which product now. */
export function fuseSwish(
  edit: GraphEdit,
  shapes: ShapeInfo,
  active: ReadonlySet<Value>,
  loss: Value | undefined,
): ReadonlyMap<Value, Value> {
  const replaced = new Map<Value, Value>()
  for (const node of [...edit.graph.nodes()]) {
    const x = sourceOf(node)
    const output = node.outputs[0]
    if (!x || !output || !active.has(x) || output.isGraphOutput || output === loss) continue
    // Other types have no kernel.
    if (!['float32', 'float16'].includes(shapes.dataType(x) ?? '')) continue
    edit.graph.model.opsets.set('com.microsoft', 1)
    const made = edit.add('QuickGelu', [x], {
      domain: 'com.microsoft',
      attributes: { alpha: { kind: 'float', value: 1 } },
      before: node,
    })
    const sigmoid = node.inputs.find((input) => input !== x)?.producer as Node
    edit.replaceUses(output, made)
    edit.erase(node)
    edit.erase(sigmoid)
    replaced.set(output, made)
  }
  return replaced
}

/** x of a product x·σ(x) whose σ(x) nothing else reads. */
function sourceOf({ op, inputs }: Node): Value | undefined {
  if (op !== 'Mul') return undefined
  for (const [x, other] of [inputs, inputs.toReversed()]) {
    const { producer, uses, isGraphOutput } = other ?? {}
    if (producer?.op !== 'Sigmoid' || producer.domain !== '' || isGraphOutput) continue
    if (x && producer.inputs[0] === x && uses?.size === 1) return x
  }
  return undefined
}
