/**
 * The constant that is added to what an output projection writes. Where a model has none, one more Add
 * makes room for it.
 */
import type { GraphEdit } from '../graph/edit.js'
import { floatAttribute, type Node, type Value } from '../graph/graph.js'
import { fromConstant, numbersOf, tensorOf, toConstant } from '../onnx/numbers.js'
import { elementCount } from '../onnx/tensor.js'

const plain = ['float32', 'float16', 'float64']

/** The bias of a product's output [..., columns]: read by the product itself or by the Add behind it. */
export function findBias(product: Node, columns: number): Value | undefined {
  const [output] = product.outputs
  const [use, ...others] = output?.uses ?? []
  const candidates =
    product.op === 'Gemm' && floatAttribute(product, 'beta', 1) === 1
      ? [product.inputs[2]]
      : use?.node.op === 'Add' && others.length === 0 && !output?.isGraphOutput
        ? use.node.inputs
        : []
  return candidates.find(
    (value) =>
      value?.constant &&
      !value.producer &&
      value.uses.size === 1 &&
      plain.includes(value.constant.dataType) &&
      elementCount(value.constant.dims) === columns &&
      value.constant.dims.at(-1) === columns,
  )
}

/** Adds `shift` to what the product writes. */
export function addToBias(change: GraphEdit, product: Node, shift: Float32Array): void {
  const bias = findBias(product, shift.length)
  const tensor = bias?.constant
  const numbers = tensor && fromConstant(tensor)
  if (bias && numbers) {
    const sum = Float64Array.from(numbersOf(numbers), (each, i) => each + (shift[i] as number))
    change.setConstant(bias, toConstant(tensorOf(tensor.dataType, tensor.dims, sum)))
    return
  }
  const [output] = product.outputs
  const type = output?.type?.dataType ?? weightType(product)
  if (!output || !type) return
  const nodes = [...change.graph.nodes()]
  const readers = new Set([...output.uses].map(({ node }) => node))
  const constant = change.constant(toConstant(tensorOf(type, [shift.length], shift)))
  const sum = change.add('Add', [output, constant], {
    before: nodes.find((node) => readers.has(node)),
  })
  change.replaceUses(output, sum, ({ node }) => node !== sum.producer)
}

/** A product writes the type of the weight it reads. */
const weightType = ({ inputs }: Node) =>
  inputs.find((value) => value?.constant || value?.type?.dataType)?.constant?.dataType

/** Whether a product's output can be shifted: nothing but nodes reads it. */
export const canShift = (product: Node): boolean =>
  ['MatMul', 'Gemm'].includes(product.op) && !product.outputs[0]?.isGraphOutput
