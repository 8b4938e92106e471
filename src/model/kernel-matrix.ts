/**
 * Convolutions as products with a matrix [channels·places, outputs]: of each position that is written, all that
 * the kernel sees of all channels. Between groups the matrix has zeros.
 */
import type { GraphEdit } from '../graph/edit.js'
import { intAttribute, intsAttribute, type Node, type Value } from '../graph/graph.js'
import { float32Tensor } from '../onnx/tensor.js'

export interface Kernel {
  /** Positions that it sees at once. */
  readonly places: number
  readonly groups: number
  /** Channels of all groups. */
  readonly channels: number
  /** Whether each position is read where it is written. */
  readonly isPointwise: boolean
}

/** The kernel of a convolution with a constant weight. */
export function kernelOf(node: Node): Kernel | undefined {
  const dims = node.inputs[1]?.constant?.dims
  if (node.op !== 'Conv' || node.domain !== '' || !dims || dims.length < 3) return undefined
  const isAll = (name: string, value: number): boolean =>
    (intsAttribute(node, name) ?? []).every((each) => each === value)
  const places = dims.slice(2).reduce((product, size) => product * size, 1)
  const groups = intAttribute(node, 'group', 1)
  return {
    places,
    groups,
    channels: groups * (dims[1] as number),
    isPointwise: places === 1 && isAll('strides', 1) && isAll('pads', 0),
  }
}

/** What a convolution reads as float32 [batch, channels·places, ...], channel after channel. */
export function unfold(change: GraphEdit, value: Value, convolution: Node): Value {
  const kernel = kernelOf(convolution)
  const single = change.add('Cast', [value], { attributes: { to: { kind: 'int', value: 1n } } })
  if (!kernel || kernel.isPointwise) return single
  const { places, channels } = kernel
  // One filter for each channel and place, which is 1 at its place.
  const filters = new Float32Array(channels * places * places)
  for (let row = 0; row < channels * places; row++) filters[row * places + (row % places)] = 1
  const space = convolution.inputs[1]?.constant?.dims.slice(2) ?? []
  const weight = change.constant(float32Tensor([channels * places, 1, ...space], filters))
  const attributes = Object.fromEntries(convolution.attributes)
  attributes.group = { kind: 'int', value: BigInt(channels) }
  return change.add('Conv', [single, weight], { attributes })
}

interface Sides {
  readonly rows: number
  readonly columns: number
  readonly groups: number
}

/** [outputs, channels of a group·places] → [rows, columns]. */
export function toMatrix(
  kernel: ArrayLike<number>,
  { rows, columns, groups }: Sides,
): Float64Array {
  const matrix = new Float64Array(rows * columns)
  const [inside, outputs] = [rows / groups, columns / groups]
  for (let column = 0; column < columns; column++) {
    const first = Math.floor(column / outputs) * inside
    for (let row = 0; row < inside; row++)
      matrix[(first + row) * columns + column] = kernel[column * inside + row] as number
  }
  return matrix
}

/** [rows, columns] → [outputs, channels of a group·places]; what lies between groups is left out. */
export function fromMatrix(
  matrix: Float64Array | Float32Array,
  { rows, columns, groups }: Sides,
): Float64Array {
  const [inside, outputs] = [rows / groups, columns / groups]
  const kernel = new Float64Array(columns * inside)
  for (let column = 0; column < columns; column++) {
    const first = Math.floor(column / outputs) * inside
    for (let row = 0; row < inside; row++)
      kernel[column * inside + row] = matrix[(first + row) * columns + column] as number
  }
  return kernel
}

/** A matrix [rows, columns] with zeros between groups of both. */
export function withinGroups(matrix: Float64Array, columns: number, groups: number): Float64Array {
  if (groups === 1) return matrix
  const rows = matrix.length / columns
  const groupOf = (at: number, size: number): number => Math.floor((at * groups) / size)
  return matrix.map((number, at) =>
    groupOf(Math.floor(at / columns), rows) === groupOf(at % columns, columns) ? number : 0,
  )
}
