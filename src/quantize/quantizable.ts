/**
 * Which weights can be kept in fewer bits, read from what is done with them: a matrix that every reader
 * multiplies by along the same axis, or looks rows up in. One constant is one entry, however many read it:
 * an embedding that is also the language model's head is quantised once. What is not understood has a reason.
 */
import {
  floatAttribute,
  type Graph,
  intAttribute,
  intsAttribute,
  type Node,
  type Value,
} from '../graph/graph.js'
import { transpose } from '../linear-algebra/products.js'
import { isFloating } from '../onnx/data-type.js'
import { fromConstant, numbersOf, tensorOf, toConstant } from '../onnx/numbers.js'
import { elementCount, type Tensor } from '../onnx/tensor.js'
import type { ShapeInfo } from '../shape/infer.js'

/** A product of a value with the weight; what is added by a Gemm comes after. */
export interface WeightProduct {
  readonly node: Node
  readonly input: Value
  readonly bias: Value | undefined
}

export interface QuantizableWeight {
  readonly value: Value
  readonly tensor: Tensor
  readonly products: readonly WeightProduct[]
  /** Gathers of its rows. */
  readonly lookups: readonly Node[]
  readonly outputs: number
  /** Members of the axis that is summed over, or of a row that is looked up. */
  readonly inputs: number
  /** Axis of the constant that has the outputs. */
  readonly outputAxis: 0 | 1
}

/** Those that calibration sees: not of a branch that goes on from a cache. */
export const firstProducts = ({ products }: QuantizableWeight): readonly WeightProduct[] =>
  products.filter(({ node }) => !node.branch?.isAgain)

export interface UnquantizableWeight {
  readonly value: Value
  readonly reason: string
}

export interface FoundWeights {
  readonly weights: readonly QuantizableWeight[]
  readonly others: readonly UnquantizableWeight[]
}

/** Weights with fewer numbers cost more nodes than they save bytes. */
const SMALLEST = 1024

/** All floating matrices that some product or lookup reads, in the order of the first reader. */
export function findQuantizable(graph: Graph, shapes: ShapeInfo): FoundWeights {
  const weights: QuantizableWeight[] = []
  const others: UnquantizableWeight[] = []
  const seen = new Set<Value>()
  for (const node of graph.nodes())
    for (const value of node.inputs) {
      if (!value || seen.has(value) || !isMatrix(value.constant)) continue
      seen.add(value)
      const found = read(value, shapes)
      if (typeof found === 'string') others.push({ value, reason: found })
      else weights.push(found)
    }
  return { weights, others }
}

const isMatrix = (tensor: Tensor | undefined): tensor is Tensor =>
  tensor !== undefined &&
  isFloating(tensor.dataType) &&
  tensor.dims.length === 2 &&
  tensor.dims.every((size) => size > 1)

interface Reading {
  readonly product?: WeightProduct
  readonly lookup?: Node
  readonly outputAxis: 0 | 1
}

function read(value: Value, shapes: ShapeInfo): QuantizableWeight | string {
  const tensor = value.constant as Tensor
  if (tensor.dataType !== 'float32' && tensor.dataType !== 'float16')
    return `its numbers are of type ${tensor.dataType}`
  if (elementCount(tensor.dims) < SMALLEST)
    return `it has ${elementCount(tensor.dims)} numbers, too few to save anything`
  if (value.isGraphOutput || value.isGraphInput) return 'it is an input or output of the model'
  const readings: Reading[] = []
  for (const { node, index } of value.uses) {
    const found = readUse(node, index, value, shapes)
    if (typeof found === 'string') return found
    readings.push(...found)
  }
  const [first] = readings
  if (!first) return 'nothing reads it'
  if (readings.some(({ outputAxis }) => outputAxis !== first.outputAxis))
    return 'its readers sum over different axes of it'
  const { outputAxis } = first
  const [rows = 0, columns = 0] = tensor.dims
  return {
    value,
    tensor,
    products: readings.flatMap(({ product }) => product ?? []),
    lookups: readings.flatMap(({ lookup }) => lookup ?? []),
    outputs: outputAxis === 0 ? rows : columns,
    inputs: outputAxis === 0 ? columns : rows,
    outputAxis,
  }
}

function readUse(
  node: Node,
  index: number,
  value: Value,
  shapes: ShapeInfo,
  isFlipped = false,
): Reading[] | string {
  if (node.graph !== value.graph) return `it is read inside of "${node.graph.name}"`
  const axis = (contracted: 0 | 1): 0 | 1 => ((contracted === 0) !== isFlipped ? 1 : 0)
  switch (node.operatorName) {
    case 'Transpose': {
      const [output] = node.outputs
      const perm = intsAttribute(node, 'perm') ?? [1, 0]
      if (!output || output.isGraphOutput || isFlipped || perm[0] !== 1)
        return 'its transpose is no weight'
      const below: Reading[] = []
      for (const use of output.uses) {
        const found = readUse(use.node, use.index, value, shapes, true)
        if (typeof found === 'string') return found
        below.push(...found)
      }
      return below
    }
    case 'MatMul':
    case 'Gemm':
    case 'com.microsoft.FusedMatMul': {
      const product = readProduct(node, index, shapes)
      if (typeof product === 'string') return product
      return [{ product, outputAxis: axis(intAttribute(node, 'transB', 0) === 1 ? 1 : 0) }]
    }
    case 'Gather': {
      const indices = node.inputs[1]
      if (index !== 0 || intAttribute(node, 'axis', 0) !== 0 || isFlipped)
        return 'it is read by index along another axis than its rows'
      if (!indices || shapes.constant(indices)) return 'constants pick its rows'
      return [{ lookup: node, outputAxis: 0 }]
    }
    default:
      return `operator ${node.operatorName} reads it`
  }
}

function readProduct(node: Node, index: number, shapes: ShapeInfo): WeightProduct | string {
  const [input, , bias] = node.inputs
  if (index !== 1 || !input) return 'it stands on the left of a product'
  const isFused = node.op === 'FusedMatMul'
  if (intAttribute(node, 'transA', 0) || intAttribute(node, 'transBatchA', 0))
    return 'the other side of its product is transposed'
  if (isFused && intAttribute(node, 'transBatchB', 0)) return 'its product has transposed batches'
  if (floatAttribute(node, 'alpha', 1) !== 1) return 'its product is scaled'
  if (bias && floatAttribute(node, 'beta', 1) !== 1) return 'what is added to its product is scaled'
  const rank = shapes.dims(input)?.length
  if (rank === undefined || rank < 2) return 'the other side of its product has no rows'
  return { node, input, bias }
}

/** Its numbers, [outputs, inputs]. */
export function readMatrix({
  tensor,
  outputs,
  inputs,
  outputAxis,
}: Pick<QuantizableWeight, 'tensor' | 'outputs' | 'inputs' | 'outputAxis'>): Float64Array {
  const constant = fromConstant(tensor)
  const numbers = constant ? Float64Array.from(numbersOf(constant)) : new Float64Array(0)
  return outputAxis === 0 ? numbers : transpose({ rows: inputs, columns: outputs, numbers }).numbers
}

/** A matrix [outputs, inputs] as a constant in the layout and type of the weight. */
export function asWeight(
  {
    tensor,
    outputs,
    inputs,
    outputAxis,
  }: Pick<QuantizableWeight, 'tensor' | 'outputs' | 'inputs' | 'outputAxis'>,
  matrix: Float32Array | Float64Array,
): Tensor {
  const own =
    outputAxis === 0
      ? matrix
      : transpose({ rows: outputs, columns: inputs, numbers: Float64Array.from(matrix) }).numbers
  return toConstant(tensorOf(tensor.dataType, tensor.dims, own))
}
