/** What a value is used as: a number that reaches the result as learned, or a scale, an angle, a position. */
import type { AxisAnalysis } from '../axes/analysis.js'
import { intAttribute, type Node, type Use, type Value } from '../graph/graph.js'
import { bitsPerElement, type DataType, isFloating } from '../onnx/data-type.js'
import { elementCount, type Tensor } from '../onnx/tensor.js'
import { isGeometric } from './learned-numbers.js'

export const curves = new Set(['Exp', 'Sigmoid', 'Softplus', 'Tanh'])

export function learnedIn(
  value: Value,
  { node, index }: Use,
  positional: ReadonlySet<Value>,
): number {
  const tensor = value.constant as Tensor
  const count = elementCount(tensor.dims)
  switch (node.op) {
    case 'MatMulNBits':
      if (index === 1) return intAttribute(node, 'N', 0) * intAttribute(node, 'K', 0)
      return index === 5 ? count : 0
    case 'MatMulBnb4':
      return index === 1 ? intAttribute(node, 'N', 0) * intAttribute(node, 'K', 0) : 0
    case 'GatherBlockQuantized':
      return index === 0
        ? count * (tensor.dataType === 'uint8' ? 8 / intAttribute(node, 'bits', 4) : 1)
        : 0
    case 'DequantizeLinear':
      return index === 0 && !isOneByte(tensor) && isReadAsLearned(node, positional) ? count : 0
    case 'QuantizeLinear':
      return index === 0 ? count : 0
    case 'MatMulInteger':
    case 'ConvInteger':
      return index <= 1 ? count : 0
    case 'QLinearMatMul':
    case 'QLinearConv':
      return index === 3 || index === 8 ? count : 0
    case 'GroupQueryAttention':
      return index === 7 || index === 8 ? 0 : floats(tensor)
    case 'RotaryEmbedding':
      return 0
    case 'Resize':
      return index === 0 ? floats(tensor) : 0
    case 'BatchNormalization':
      // Running statistics are measured.
      return index <= 2 ? floats(tensor) : 0
    default:
      return isLearnedOperand(node, index, positional) ? floats(tensor) : 0
  }
}

/** Whether any reader of a dequantised constant takes it for learned. */
function isReadAsLearned({ outputs: [output] }: Node, positional: ReadonlySet<Value>): boolean {
  const uses = [...(output?.uses ?? [])]
  return (
    uses.length === 0 || uses.some(({ node, index }) => isLearnedOperand(node, index, positional))
  )
}

/** One number everywhere, quantised: the gain of a norm without one. */
function isOneByte(tensor: Tensor): boolean {
  if (tensor.dims.length !== 1 || bitsPerElement(tensor.dataType) !== 8) return false
  const bytes = tensor.bytes()
  return bytes.length > 1 && bytes.every((byte) => byte === bytes[0])
}

const floats = (tensor: Tensor): number =>
  isFloating(tensor.dataType) ? elementCount(tensor.dims) : quantised(tensor)

/** A quantised table that is looked up before it is scaled. */
const quantised = (tensor: Tensor): number =>
  tensor.dims.length >= 2 &&
  bitsPerElement(tensor.dataType) <= 8 &&
  tensor.dataType !== 'bool' &&
  tensor.dataType !== 'string'
    ? elementCount(tensor.dims)
    : 0

function isLearnedOperand(node: Node, index: number, positional: ReadonlySet<Value>): boolean {
  if (node.op.startsWith('Gather') && index > 0) return false
  if (isDynamicScale(node)) return false
  const [output] = node.outputs
  if (!output || !positional.has(output)) return true
  // Made of positions alone: a bias that was learned for each of them, or angles and slopes.
  const tensor = node.inputs[index]?.constant
  if (tensor && elementCount(tensor.dims) === 1) return curves.has(node.op)
  return !becomesAngle(output, positional) && !(tensor && isGeometric(tensor))
}

/** Whether a sine or cosine is taken of what becomes of a value, by positions alone. */
function becomesAngle(value: Value, positional: ReadonlySet<Value>): boolean {
  const queue = [value]
  const seen = new Set(queue)
  for (let at = 0; at < queue.length; at++)
    for (const { node } of queue[at]?.uses ?? []) {
      if (node.op === 'Sin' || node.op === 'Cos') return true
      for (const output of node.outputs) {
        if (!output || seen.has(output) || !positional.has(output)) continue
        seen.add(output)
        queue.push(output)
      }
    }
  return false
}

/** The product of two quantisation scales, one of them measured while running. */
const isDynamicScale = (node: Node): boolean =>
  node.op === 'Mul' &&
  node.inputs.some(
    (input) =>
      input?.producer?.op === 'DynamicQuantizeLinear' && input !== input.producer.outputs[0],
  )

/** Values made of constants and integer inputs without a table of floats: positions, masks, angles. */
export function positionalValues(analysis: AxisAnalysis): Set<Value> {
  const found = new Set<Value>()
  const { graph, shapes } = analysis
  for (const value of graph.values.values()) if (analysis.isConstant(value)) found.add(value)
  for (const input of graph.inputs) {
    const type = shapes.dataType(input)
    if (type && !isFloating(type)) found.add(input)
  }
  for (const node of graph.nodes()) {
    const isShape = node.op === 'Shape' || node.op === 'Size'
    const isTable =
      node.op.startsWith('Gather') &&
      node.inputs[0] !== undefined &&
      analysis.isConstant(node.inputs[0]) &&
      isTableType(shapes.dataType(node.inputs[0]) ?? 'int64') &&
      !node.inputs.every((input) => !input || analysis.isConstant(input))
    const isEmbedding = node.op === 'EmbedLayerNormalization'
    const isOnly = !isEmbedding && node.inputs.every((input) => !input || found.has(input))
    if (isShape || (isOnly && !isTable))
      for (const output of node.outputs) if (output) found.add(output)
  }
  return found
}

const isTableType = (type: DataType): boolean => isFloating(type) || bitsPerElement(type) <= 8
