/** The trained vector as an input of the graph: cut into tensors at its head, read where weights were. */
import type { Node, Value } from '../../graph/graph.js'
import { NodeBuilder } from '../../node-builder/node-builder.js'
import { elementCount } from '../../onnx/tensor.js'
import { needs, raiseOpset } from '../../rewrite/raise-opset.js'
import { partsOf, ROW, rowsOf, type Trainable } from './trainable.js'

export const PARAMETERS = 'attnc.parameters'

/** Makes the graph read its trained numbers from a new input [size], which is returned. Error: OPSET_TOO_OLD. */
export function insertTrainable({ edit, shapes }: NodeBuilder, trainable: Trainable): Value {
  const { graph } = edit
  raiseOpset(edit, needs.gradients)
  const order = [...graph.nodes()]
  const head = new NodeBuilder(edit, shapes, order[0])
  const vector = edit.addInput(PARAMETERS, 'float32', [trainable.size])
  const parts = cutVector(head, vector, trainable)
  const { method } = trainable
  const scale = method.kind === 'lora' ? method.alpha / method.rank : 1
  for (const [index, { name, tensor, form }] of trainable.weights.entries()) {
    const value = graph.values.get(name) as Value
    const own = (parts[index] ?? []).map((part) =>
      tensor.dataType === 'float32' ? part : head.cast(part, tensor.dataType),
    )
    const product = form === 'beside' ? [...value.uses][0]?.node : undefined
    if (form === 'whole') edit.replaceUses(value, own[0] as Value)
    else if (product) {
      const behind = new NodeBuilder(edit, shapes, order[order.indexOf(product) + 1])
      addBeside(behind, product, trainable.weights[index]?.matrix?.isTurned ?? false, own, scale)
    } else {
      const update = head.op('MatMul', own)
      const sum = head.op('Add', [value, head.op('Mul', [update, head.scalar(scale, value)])])
      edit.replaceUses(value, sum, ({ node }) => node !== sum.producer)
    }
  }
  return vector
}

/** y + x·A·B·scale, read wherever y was; of a turned weight, the pair is turned. */
function addBeside(
  b: NodeBuilder,
  product: Node,
  isTurned: boolean,
  [first, second]: readonly Value[],
  scale: number,
): void {
  const [x, y] = [product.inputs[0], product.outputs[0] as Value]
  const turn = (value: Value | undefined): Value => b.op('Transpose', [value], { perm: [1, 0] })
  const [down, up] = isTurned ? [turn(second), turn(first)] : [first, second]
  const low = b.op('MatMul', [x, down])
  const added = b.op('MatMul', [low, b.op('Mul', [up, b.scalar(scale, y)])])
  const sum = b.op('Add', [y, added])
  b.edit.replaceUses(y, sum, (use) => use.node !== sum.producer)
}

function cutVector(b: NodeBuilder, vector: Value, { weights, method }: Trainable): Value[][] {
  const dims = weights.map((weight) => partsOf(weight, method))
  const flat = dims.flat()
  const names = flat.map((_, index) => `attnc.part${index}`)
  const rows = b.op('Reshape', [vector, b.ints(-1, ROW)])
  const parts = b.outputs('Split', [rows, b.ints(...flat.map(rowsOf))], names, { axis: 0 })
  let at = 0
  return dims.map((own) => own.map((each) => shape(b, parts[at++] as Value, each)))
}

/** Rows [r, ROW] → the tensor that they begin with. */
function shape(b: NodeBuilder, rows: Value, dims: readonly number[]): Value {
  const count = elementCount(dims)
  const isWhole = count === ROW * rowsOf(dims)
  const flat = isWhole ? rows : b.op('Reshape', [rows, b.ints(-1)])
  const own = isWhole ? flat : b.op('Slice', [flat, b.ints(0), b.ints(count)])
  return b.op('Reshape', [own, b.ints(...dims)])
}
