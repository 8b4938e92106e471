/**
 * The constant that is added to what an output projection writes. Where a model has none, one more Add
 * makes room for it.
 */
import type { GraphEdit } from '../graph/edit.js'
import { floatAttribute, type Node, type Value } from '../graph/graph.js'
import type { DataType } from '../onnx/data-type.js'
import { fromConstant, numbersOf, tensorOf, toConstant } from '../onnx/numbers.js'
import { elementCount } from '../onnx/tensor.js'
import { sameProducts } from './same-products.js'

const plain = ['float32', 'float16', 'float64']

/**
 * The bias of a product's output [..., columns]: read by the product itself or by the Add behind it, and by nothing
 * but the same product in another branch.
 */
export function findBias(product: Node, columns: number): Value | undefined {
  const readers = new Set(sameProducts(product).map(biasReader))
  const reader = biasReader(product)
  const candidates =
    reader === undefined
      ? []
      : reader.op === 'Gemm' || reader.op === 'Conv'
        ? [reader.inputs[2]]
        : reader.inputs
  return candidates.find(
    (value) =>
      value?.constant &&
      !value.producer &&
      [...value.uses].every(({ node }) => readers.has(node)) &&
      plain.includes(value.constant.dataType) &&
      elementCount(value.constant.dims) === columns &&
      value.constant.dims.at(-1) === columns,
  )
}

/** What adds the bias, where there may be one. */
function biasReader(product: Node): Node | undefined {
  const [output] = product.outputs
  const [use, ...others] = output?.uses ?? []
  if (product.op === 'Gemm' && floatAttribute(product, 'beta', 1) === 1) return product
  if (product.op === 'Conv') return product
  return use?.node.op === 'Add' && others.length === 0 && !output?.isGraphOutput
    ? use.node
    : undefined
}

/** Adds `shift` to what the product writes, in all branches that have it; `type` where the graph doesn't say it. */
export function addToBias(
  change: GraphEdit,
  product: Node,
  shift: Float32Array,
  type?: DataType,
): void {
  const biases = new Set<Value>()
  for (const each of sameProducts(product)) {
    const bias = findBias(each, shift.length)
    if (!bias) addBehind(change, each, shift, type)
    else if (!biases.has(bias)) shiftConstant(change, bias, shift)
    if (bias) biases.add(bias)
  }
}

function shiftConstant(change: GraphEdit, bias: Value, shift: Float32Array): void {
  const tensor = bias.constant
  const numbers = tensor && fromConstant(tensor)
  if (!tensor || !numbers) return
  const sum = Float64Array.from(numbersOf(numbers), (each, i) => each + (shift[i] as number))
  change.setConstant(bias, toConstant(tensorOf(tensor.dataType, tensor.dims, sum)))
}

function addBehind(
  change: GraphEdit,
  product: Node,
  shift: Float32Array,
  stated: DataType | undefined,
): void {
  const [output] = product.outputs
  const type = output?.type?.dataType ?? stated ?? weightType(product)
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

/**
 * Whether a product's output can be shifted: nothing but nodes reads it. Behind a convolution there
 * is no room for more.
 */
export const canShift = (product: Node): boolean =>
  product.op === 'Conv'
    ? findBias(product, product.inputs[1]?.constant?.dims[0] ?? 0) !== undefined
    : ['MatMul', 'Gemm'].includes(product.op) && !product.outputs[0]?.isGraphOutput
