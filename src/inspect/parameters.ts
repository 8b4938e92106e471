/**
 * Counting parameters: numbers that were learned, tied ones once. Rotary frequencies, slopes and
 * caches of cosines come from positions alone and are none; scales and zero points of quantised
 * weights stand for how the weights are written and are none either.
 */
import type { AxisAnalysis } from '../axes/analysis.js'
import { intAttribute, type Node, type Use, type Value } from '../graph/graph.js'
import { bitsPerElement, type DataType, isFloating } from '../onnx/data-type.js'
import { elementCount, type Tensor } from '../onnx/tensor.js'

export function countParameters(analysis: AxisAnalysis): number {
  const positional = positionalValues(analysis)
  const counted: Tensor[] = []
  let total = 0
  for (const value of analysis.graph.values.values()) {
    const tensor = value.constant
    if (!tensor || elementCount(tensor.dims) < 2) continue
    const size = learnedElements(value, positional)
    if (size === 0 || counted.some((other) => isTied(tensor, other))) continue
    counted.push(tensor)
    total += size
  }
  return total
}

/** Elements that were learned, as the most telling of its readers sees it. */
function learnedElements(value: Value, positional: ReadonlySet<Value>): number {
  return Math.max(0, ...[...value.uses].map((use) => learnedIn(value, use, positional)))
}

function learnedIn(value: Value, { node, index }: Use, positional: ReadonlySet<Value>): number {
  const tensor = value.constant as Tensor
  const count = elementCount(tensor.dims)
  switch (node.op) {
    case 'MatMulNBits':
      if (index === 1) return intAttribute(node, 'N', 0) * intAttribute(node, 'K', 0)
      return index === 5 ? count : 0
    case 'GatherBlockQuantized':
      return index === 0
        ? count * (tensor.dataType === 'uint8' ? 8 / intAttribute(node, 'bits', 4) : 1)
        : 0
    case 'DequantizeLinear':
      return index === 0 ? count : 0
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
    default:
      return isLearnedOperand(node, index, positional) ? floats(tensor) : 0
  }
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

/** Operators whose first operand is data that is only moved or looked up. */
const readers =
  /^(Gather|Transpose|Reshape|Unsqueeze|Squeeze|Slice|Expand|Cast|Identity|Split|Concat|Tile)/

function isLearnedOperand(node: Node, index: number, positional: ReadonlySet<Value>): boolean {
  if (readers.test(node.op)) {
    if (node.op.startsWith('Gather')) return index === 0
    const [output] = node.outputs
    if (output && !positional.has(output)) return true
    // Moved first: what it meets afterwards decides.
    return output
      ? [...output.uses].some((use) => isLearnedOperand(use.node, use.index, positional))
      : false
  }
  if (isDynamicScale(node)) return false
  const others = node.inputs.filter((_, other) => other !== index)
  return others.length === 0 || others.some((other) => other && !positional.has(other))
}

/** The product of two quantisation scales, one of them measured while running. */
const isDynamicScale = (node: Node): boolean =>
  node.op === 'Mul' &&
  node.inputs.some(
    (input) =>
      input?.producer?.op === 'DynamicQuantizeLinear' && input !== input.producer.outputs[0],
  )

/** Values made of constants and integer inputs without a table of floats: positions, masks, angles. */
function positionalValues(analysis: AxisAnalysis): Set<Value> {
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

/** Equal numbers, as they are or transposed: an embedding that is stored again as the output head. */
function isTied(a: Tensor, b: Tensor): boolean {
  if (a.dataType !== b.dataType || a.dims.length !== 2 || b.dims.length !== 2) return false
  const isSame = a.dims[0] === b.dims[0] && a.dims[1] === b.dims[1]
  const isTransposed = a.dims[0] === b.dims[1] && a.dims[1] === b.dims[0]
  if (!isSame && !isTransposed) return false
  const [rows = 0, columns = 0] = a.dims
  const size = bitsPerElement(a.dataType) / 8
  if (size < 1) return false
  const [x, y] = [a.bytes(), b.bytes()]
  const isEqualAt = (i: number, j: number, to: number): boolean =>
    Array.from({ length: size }).every(
      (_, byte) => x[(i * columns + j) * size + byte] === y[to * size + byte],
    )
  // A sample of places is enough: random weights don't agree by chance.
  const places = Array.from(
    { length: 64 },
    (_, n) => [(n * 7919) % rows, (n * 104729) % columns] as const,
  )
  return (
    (isSame && places.every(([i, j]) => isEqualAt(i, j, i * columns + j))) ||
    (isTransposed && places.every(([i, j]) => isEqualAt(i, j, j * rows + i)))
  )
}
