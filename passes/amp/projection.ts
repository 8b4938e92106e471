/** The weight of an output projection as numbers, [inputs, outputs], and back in its own layout. */
import type { Contraction } from '../../src/axes/analysis.js'
import type { Value } from '../../src/graph/graph.js'
import type { Tensor } from '../../src/onnx/tensor.js'
import { fromConstant, numbersOf, tensorOf, toConstant } from '../../src/runtime/tensor.js'

export interface Projection {
  readonly weight: Value
  /** Axis of the constant that is contracted. */
  readonly axis: 0 | 1
  readonly rows: number
  readonly columns: number
  /** [rows, columns], row-major. */
  read(): Float64Array
}

/** The projection's constant, where it is a plain floating matrix read by this product alone. */
export function readProjection(contraction: Contraction): Projection | undefined {
  for (const { input, axis } of contraction.operands) {
    const weight = contraction.node.inputs[input]
    const tensor = weight?.constant
    if (!weight || tensor?.dims.length !== 2 || weight.uses.size !== 1) continue
    if (!['float32', 'float16', 'float64'].includes(tensor.dataType)) continue
    const [first = 0, second = 0] = tensor.dims
    const [rows, columns] = axis === 0 ? [first, second] : [second, first]
    return {
      weight,
      axis: axis === 0 ? 0 : 1,
      rows,
      columns,
      read: () => asRows(tensor, axis, rows, columns),
    }
  }
  return undefined
}

function asRows(tensor: Tensor, axis: number, rows: number, columns: number): Float64Array {
  const runtime = fromConstant(tensor)
  const numbers = runtime ? Float64Array.from(numbersOf(runtime)) : new Float64Array(rows * columns)
  return axis === 0 ? numbers : transposed(numbers, columns, rows)
}

function transposed(from: Float64Array, rows: number, columns: number): Float64Array {
  const to = new Float64Array(from.length)
  for (let i = 0; i < rows; i++)
    for (let j = 0; j < columns; j++) to[j * rows + i] = from[i * columns + j] as number
  return to
}

/** Kept rows of a re-fitted matrix as a constant in the projection's own layout and type. */
export function toWeight(
  projection: Projection,
  matrix: Float64Array,
  keptRows: readonly number[],
): Tensor {
  const { columns, axis } = projection
  const kept = new Float64Array(keptRows.length * columns)
  for (const [to, from] of keptRows.entries())
    kept.set(matrix.subarray(from * columns, (from + 1) * columns), to * columns)
  const type = projection.weight.constant?.dataType ?? 'float32'
  const numbers = axis === 0 ? kept : transposed(kept, keptRows.length, columns)
  const dims = axis === 0 ? [keptRows.length, columns] : [columns, keptRows.length]
  return toConstant(tensorOf(type, dims, numbers))
}
