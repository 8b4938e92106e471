/** The weight of an output projection as numbers, [inputs, outputs], and back in its own layout. */
import type { AxisAnalysis, Contraction } from '../axes/analysis.js'
import { Axis } from '../axes/axis.js'
import { productOf } from '../axes/unify.js'
import { firstUses, type Node, type Value } from '../graph/graph.js'
import { isFloating } from '../onnx/data-type.js'
import { fromConstant, numbersOf, tensorOf, toConstant } from '../onnx/numbers.js'
import type { Tensor } from '../onnx/tensor.js'
import { Size } from '../shape/symbolic.js'
import { fromMatrix, kernelOf, toMatrix } from './kernel-matrix.js'
import { isTransparent } from './trace.js'

export interface Projection {
  readonly node: Node
  readonly weight: Value
  /** Axis of the constant that is contracted. */
  readonly axis: 0 | 1
  /** The contracted axis, as the activations have it. */
  readonly inputs: Axis
  readonly rows: number
  readonly columns: number
  /** Of a convolution: inputs of a group say nothing of another's outputs. */
  readonly groups: number
  /** [rows, columns], row-major. */
  read(): Float64Array
}

/** Whether a product is one with a constant. */
export const isProjection = (analysis: AxisAnalysis, contraction: Contraction): boolean =>
  contraction.node.inputs.some(
    (input, index) =>
      input && analysis.isConstant(input) && contraction.operands.some((o) => o.input === index),
  ) || contraction.operands.length === 1

/** Whether a value holds weights only: a constant, or rows of constants that an index picks. */
export function holdsWeights(analysis: AxisAnalysis, value: Value, depth = 16): boolean {
  if (analysis.isConstant(value)) return true
  const { producer } = value
  if (!producer || depth === 0) return false
  const data = producer.op.startsWith('Gather') ? producer.inputs.slice(0, 1) : producer.inputs
  return (
    isTransparent(producer) &&
    data.every((each) => !each || holdsWeights(analysis, each, depth - 1))
  )
}

/**
 * The projection's constant, where it is a plain floating matrix or kernel read by this product alone, and no copy of
 * one that another reads.
 */
export function readProjection(
  contraction: Contraction,
  copies: ReadonlyMap<Value, Value> = new Map(),
): Projection | undefined {
  if (kernelOf(contraction.node)) return readKernel(contraction, copies)
  for (const { input, axis, what } of contraction.operands) {
    const read = contraction.node.inputs[input]
    const flipped = read && transposedConstant(read)
    const weight = flipped ?? read
    const tensor = weight?.constant
    if (!weight || !tensor || tensor.dims.length !== 2 || !isOwnWeight(weight, copies)) continue
    const own = flipped ? 1 - axis : axis
    const [first = 0, second = 0] = tensor.dims
    const [rows, columns] = own === 0 ? [first, second] : [second, first]
    return {
      node: contraction.node,
      weight,
      axis: own === 0 ? 0 : 1,
      inputs: what,
      rows,
      columns,
      groups: 1,
      read: () => asRows(tensor, own, rows, columns),
    }
  }
  return undefined
}

/** Whether a floating constant is read by one product alone. */
const isOwnWeight = (weight: Value, copies: ReadonlyMap<Value, Value>): boolean =>
  firstUses(weight).length === 1 &&
  !copies.has(weight) &&
  ['float32', 'float16', 'float64'].includes(weight.constant?.dataType ?? '')

function readKernel(
  { node, operands }: Contraction,
  copies: ReadonlyMap<Value, Value>,
): Projection | undefined {
  const weight = node.inputs[1]
  const kernel = kernelOf(node)
  const what = operands.find(({ input }) => input === 0)?.what
  if (!weight?.constant || !kernel || !what || !isOwnWeight(weight, copies)) return undefined
  const { places, channels, groups } = kernel
  const sides = { rows: channels * places, columns: weight.constant.dims[0] as number, groups }
  const inputs = overPlaces(what, places)
  const tensor = weight.constant
  return { node, weight, axis: 1, inputs, ...sides, read: () => readKernelMatrix(tensor, sides) }
}

/** Channels as a matrix has them: each with all places that the kernel sees. */
export const overPlaces = (channels: Axis, places: number): Axis =>
  places === 1 ? channels : productOf([channels, new Axis(Size.of(places))])

function readKernelMatrix(
  tensor: Tensor,
  sides: Pick<Projection, 'rows' | 'columns' | 'groups'>,
): Float64Array {
  const read = fromConstant(tensor)
  return read ? toMatrix(numbersOf(read), sides) : new Float64Array(sides.rows * sides.columns)
}

/** Weights of all experts in one constant: [experts, inputs, outputs] in any order. */
export interface StackedWeight {
  readonly value: Value
  /** Axis of the constant that is contracted. */
  readonly axis: number
}

/** The constant of more than two axes that a product reads, maybe by rows that an index picks. */
export function readStacked(
  analysis: AxisAnalysis,
  { node, operands }: Contraction,
): StackedWeight | undefined {
  for (const { input, what } of operands) {
    let value = node.inputs[input]
    for (let depth = 8; value && !value.constant && depth > 0; depth--)
      value = value.producer && isPicker(value.producer) ? value.producer.inputs[0] : undefined
    if (!value?.constant || value.constant.dims.length < 3) continue
    const axis = (analysis.axes(value) ?? []).findIndex(({ root }) => root === what.root)
    if (axis >= 0) return { value, axis }
  }
  return undefined
}

const isPicker = (node: Node): boolean => node.op.startsWith('Gather') || isTransparent(node)

/** Σ over all else of the squares of each member of a stacked weight's contracted axis. */
export function squaredMembers({ value, axis }: StackedWeight): Float64Array | undefined {
  const { constant } = value
  const read = constant && fromConstant(constant)
  if (!constant || !read || !isFloating(constant.dataType)) return undefined
  const size = constant.dims[axis] as number
  const inner = constant.dims.slice(axis + 1).reduce((product, dim) => product * dim, 1)
  const sums = new Float64Array(size)
  for (const [at, number] of numbersOf(read).entries()) {
    const member = Math.floor(at / inner) % size
    sums[member] = (sums[member] as number) + number ** 2
  }
  return sums
}

/** A stored matrix behind a Transpose that only this product reads. */
function transposedConstant(value: Value): Value | undefined {
  const { producer } = value
  const [source] = producer?.inputs ?? []
  if (producer?.op !== 'Transpose' || value.uses.size !== 1 || !source?.constant) return undefined
  return source.constant.dims.length === 2 ? source : undefined
}

function asRows(tensor: Tensor, axis: number, rows: number, columns: number): Float64Array {
  const read = fromConstant(tensor)
  const numbers = read ? Float64Array.from(numbersOf(read)) : new Float64Array(rows * columns)
  return axis === 0 ? numbers : transposed(numbers, columns, rows)
}

function transposed(
  from: Float64Array | Float32Array,
  rows: number,
  columns: number,
): Float64Array {
  const to = new Float64Array(from.length)
  for (let i = 0; i < rows; i++)
    for (let j = 0; j < columns; j++) to[j * rows + i] = from[i * columns + j] as number
  return to
}

/** A constant in the projection's own layout as a matrix [rows, columns]. */
export function fromWeight(projection: Projection, tensor: Tensor): Float64Array {
  const { axis, rows, columns } = projection
  return kernelOf(projection.node)
    ? readKernelMatrix(tensor, projection)
    : asRows(tensor, axis, rows, columns)
}

/** A whole matrix [rows, columns] as a constant in the projection's own layout and type. */
export function toWeight(projection: Projection, matrix: Float64Array | Float32Array): Tensor {
  const { rows, columns, axis } = projection
  const { dataType: type = 'float32', dims = [] } = projection.weight.constant ?? {}
  if (kernelOf(projection.node))
    return toConstant(tensorOf(type, dims, fromMatrix(matrix, projection)))
  const numbers = axis === 0 ? matrix : transposed(matrix, rows, columns)
  return toConstant(tensorOf(type, axis === 0 ? [rows, columns] : [columns, rows], numbers))
}
