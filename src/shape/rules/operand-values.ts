/** What shape rules read of operands: axes from the front, sizes as numbers, the elements of vectors. */
import { intsAttribute } from '../../graph/graph.js'
import type { ShapeContext } from '../rule.js'
import { Size } from '../symbolic.js'

export const fromFront = (axis: number, rank: number): number => (axis < 0 ? axis + rank : axis)

export const product = (sizes: readonly Size[]): Size =>
  sizes.reduce((total, size) => total.mul(size), Size.of(1))

export const numbersOf = (dims: readonly Size[] | undefined): number[] | undefined => {
  const values = dims?.map((size) => size.value)
  return values?.every((value) => value !== undefined) ? (values as number[]) : undefined
}

/** The elements of an integer vector operand, or undefined where its length is not known. */
export function vector(
  context: ShapeContext,
  input: number,
): readonly (Size | undefined)[] | undefined {
  const known = context.elements(input)
  if (known) return known.elements
  const length = context.dims(input)?.[0]?.value
  return length === undefined ? undefined : Array<undefined>(length).fill(undefined)
}

/** Axes given as an operand since opset 13, as an attribute before. */
export const statedAxes = (context: ShapeContext, input: number): number[] | undefined => {
  const stated = intsAttribute(context.node, 'axes')
  if (stated) return [...stated]
  const operand = context.elements(input)?.elements.map((size) => size?.value)
  return operand?.every((axis) => axis !== undefined) ? (operand as number[]) : undefined
}
