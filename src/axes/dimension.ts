/**
 * Dimensions: the leaves that something could be removed from. A dimension knows the constants it
 * occurs in, what a member costs, and everything that stands in the way.
 */
import type { Value } from '../graph/graph.js'
import { bitsPerElement, isFloating } from '../onnx/data-type.js'
import { elementCount } from '../onnx/tensor.js'
import type { AxisAnalysis, ConstantAxes } from './analysis.js'
import { type Axis, leavesOf, type Reason } from './axis.js'
import { Removal } from './removal.js'

export interface Dimension {
  /** The leaf; the identity of the dimension. */
  readonly axis: Axis
  readonly size: number
  /** Constants that lose elements with a member. */
  readonly places: readonly ConstantAxes[]
  /** Members go in aligned runs of this many. */
  readonly granularity: number
  readonly blocked: readonly Reason[]
  readonly entangled: readonly Reason[]
  /** Graph inputs and outputs that have the dimension: removal changes the model's interface. */
  readonly interface: readonly Value[]
  /** Whether some product sums over it, so that a removed member equals a zero there. */
  readonly isContracted: boolean
  /** Elements of weights that go with one member. */
  readonly parametersPerMember: number
}

/** All dimensions of known size above 1 that occur in a constant, largest cost first. */
export function findDimensions(analysis: AxisAnalysis): Dimension[] {
  const places = new Map<Axis, ConstantAxes[]>()
  for (const constant of analysis.constantAxes()) {
    if (!isWeight(constant.value)) continue
    for (const leaf of new Set(constant.axes.flatMap(leavesOf))) {
      const known = places.get(leaf)
      if (known) known.push(constant)
      else places.set(leaf, [constant])
    }
  }
  const contracted = new Set<Axis>()
  for (const { operands } of analysis.contractions)
    for (const { what } of operands) for (const leaf of leavesOf(what)) contracted.add(leaf)
  const interfaceOf = interfaceValues(analysis)
  const dimensions: Dimension[] = []
  for (const [axis, found] of places) {
    const size = axis.size.value
    if (size === undefined || size < 2) continue
    dimensions.push({
      axis,
      size,
      places: found,
      granularity: axis.granularity,
      blocked: axis.blocked,
      entangled: axis.entangled,
      interface: interfaceOf.get(axis) ?? [],
      isContracted: contracted.has(axis),
      parametersPerMember: parametersOfMember(analysis, axis, size, found),
    })
  }
  return dimensions.sort((a, b) => b.parametersPerMember - a.parametersPerMember)
}

/** Weights hold numbers that were learned: floating ones, and the integers of quantised weights. */
export const isWeight = (value: Value): boolean => {
  const tensor = value.constant
  return (
    tensor !== undefined &&
    tensor.dims.length > 0 &&
    (isFloating(tensor.dataType) || bitsPerElement(tensor.dataType) <= 8) &&
    tensor.dataType !== 'bool' &&
    tensor.dataType !== 'string'
  )
}

function interfaceValues(analysis: AxisAnalysis): Map<Axis, Value[]> {
  const found = new Map<Axis, Value[]>()
  for (const value of [...analysis.graph.inputs, ...analysis.graph.outputs])
    for (const leaf of new Set((analysis.axes(value) ?? []).flatMap(leavesOf)))
      found.set(leaf, [...(found.get(leaf) ?? []), value])
  return found
}

/** Copies count once. */
function parametersOfMember(
  { copies }: AxisAnalysis,
  axis: Axis,
  size: number,
  places: readonly ConstantAxes[],
): number {
  const removal = new Removal(
    new Map([[axis, Array.from({ length: size - 1 }, (_, index) => index + 1)]]),
  )
  const counted = new Set<Value>()
  let parameters = 0
  for (const { value, axes } of places) {
    const first = copies.get(value) ?? value
    if (counted.has(first)) continue
    counted.add(first)
    const before = elementCount(value.constant?.dims ?? [])
    const after = axes.reduce((count, each) => count * (removal.sizeOf(each).value ?? 0), 1)
    parameters += before - after
  }
  return parameters
}
