/**
 * Equal parts of one axis that are put together along another one, in order: a Reshape and a Transpose,
 * spelled out by Split or Slice and Concat. The number of parts is a factor of both axes. The surprise: the
 * operator that takes apart has to look ahead, as its parts are no segments of their own then.
 */
import { intAttribute, type Node, type Value } from '../../graph/graph.js'
import type { ShapeInfo } from '../../shape/infer.js'
import { Size } from '../../shape/symbolic.js'
import { fromFront, type RuleContext } from '../rule.js'

interface Part {
  readonly source: Value
  /** Of the source, counted from the front. */
  readonly axis: number
  readonly index: number
  readonly count: number
}

interface Stack extends Part {
  /** What becomes of the axis of one part before the parts are put together. */
  readonly change: 'none' | 'gets a new axis' | 'loses its axis'
}

/** The parts that a Concat puts together, if they are all of one axis, and it is not the axis along which they lie then. */
export function stackOf(node: Node, shapes: ShapeInfo): Stack | undefined {
  const first = node.inputs[0] && partBehind(node.inputs[0], shapes)
  if (node.op !== 'Concat' || !first || first.count !== node.inputs.length) return undefined
  const isInOrder = node.inputs.every((value, index) => {
    const part = value && partBehind(value, shapes)
    return (
      part?.source === first.source &&
      part.axis === first.axis &&
      part.index === index &&
      part.count === first.count &&
      part.change === first.change
    )
  })
  const rank = shapes.dims(node.inputs[0] as Value)?.length ?? 0
  const along = fromFront(intAttribute(node, 'axis', 0), rank)
  return isInOrder && (first.change !== 'none' || along !== first.axis) ? first : undefined
}

function partBehind(value: Value, shapes: ShapeInfo): Stack | undefined {
  const { producer } = value
  const change =
    producer?.op === 'Unsqueeze'
      ? 'gets a new axis'
      : producer?.op === 'Squeeze'
        ? 'loses its axis'
        : 'none'
  const own = change === 'none' ? value : producer?.inputs[0]
  const part = own && partOf(own, shapes)
  // Only a single member can lose its axis.
  const isWhole = change !== 'loses its axis' || shapes.dims(own as Value)?.[part?.axis ?? 0]?.isOne
  return part && isWhole ? { ...part, change } : undefined
}

/** One of so many equal parts of an axis. */
function partOf(value: Value, shapes: ShapeInfo): Part | undefined {
  const { producer } = value
  const [source] = producer?.inputs ?? []
  const whole = source && shapes.dims(source)
  const own = shapes.dims(value)
  if (!producer || !source || !whole || !own) return undefined
  if (producer.op === 'Split') {
    const axis = fromFront(intAttribute(producer, 'axis', 0), whole.length)
    const sizes = producer.outputs.map((each) => each && shapes.dims(each)?.[axis])
    const isEqual = sizes.every((size) => size && own[axis]?.equals(size))
    const { outputs } = producer
    return isEqual
      ? { source, axis, index: outputs.indexOf(value), count: outputs.length }
      : undefined
  }
  if (producer.op !== 'Slice') return undefined
  const changed = whole.flatMap((size, at) => (own[at]?.equals(size) ? [] : [at]))
  const [axis] = changed
  const [starts, axes, steps] = [1, 3, 4].map((index) => {
    const operand = producer.inputs[index]
    return operand && shapes.integers(operand)?.elements.map((size) => size?.value)
  })
  if (axis === undefined || changed.length !== 1 || steps?.some((step) => step !== 1))
    return undefined
  const start = starts?.[axes ? axes.indexOf(axis) : axis]
  const count = own[axis] && whole[axis]?.divideExact(own[axis])?.value
  const width = own[axis]?.value
  if (start === undefined || start < 0 || !count || !width || start % width !== 0) return undefined
  return { source, axis, index: start / width, count }
}

/** Relates a value to its parts where they will be stacked; false where they won't. */
export function relateParts(context: RuleContext, axis: number): boolean {
  const { node, shapes } = context
  const [made] = node.outputs
  const part = made && partOf(made, shapes)
  const isStacked = [...(made?.uses ?? [])].some(({ node: next }) => {
    const isBetween = next.op === 'Unsqueeze' || next.op === 'Squeeze'
    const [behind] = isBetween ? [...(next.outputs[0]?.uses ?? [])] : []
    const stack = stackOf(behind?.node ?? next, shapes)
    return stack !== undefined && stack.source === node.inputs[0] && stack.axis === axis
  })
  const from = context.input(0) ?? []
  const first = context.output(0)?.[axis]
  const whole = from[axis]
  if (!part || part.axis !== axis || !isStacked || !first || !whole) return false
  for (const index of node.outputs.keys())
    for (const [position, each] of (context.output(index) ?? []).entries())
      context.unify(position === axis ? first : from[position], each)
  context.unifyProducts([whole], [context.newAxis(Size.of(part.count)), first])
  return true
}

/** The split axis is [parts, part]; the axis along which the parts lie is [parts], or [parts, own]. */
export function relateStack(
  context: RuleContext,
  { source, axis: from, count, change }: Stack,
  axis: number,
): void {
  const whole = context.axesOf(source)?.[from]
  const target = context.output(0)?.[axis]
  const own = context.input(0)?.[axis]
  const inner = whole?.size.divideExact(Size.of(count))
  if (!whole || !target || !own || !inner) return
  const parts = context.newAxis(Size.of(count))
  context.unifyProducts([whole], [parts, context.newAxis(inner)])
  context.unifyProducts([target], change === 'gets a new axis' ? [parts] : [parts, own])
  context.block(parts, 'is written as so many parts')
}
