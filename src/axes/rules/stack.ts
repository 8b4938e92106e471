/**
 * Equal parts of one axis that are put together along another one, in order: a Reshape and a Transpose,
 * spelled out by Split or Slice and Concat. The number of parts is a factor of both axes. The surprise: the
 * operator that takes apart has to look ahead, as its parts are no segments of their own then.
 */
import type { GraphEdit } from '../../graph/edit.js'
import { intAttribute, intsAttribute, type Node, type Use, type Value } from '../../graph/graph.js'
import type { ShapeInfo } from '../../shape/infer.js'
import { Size } from '../../shape/symbolic.js'
import { fromFront, type RewriteContext, type RuleContext } from '../rule.js'

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

/**
 * The parts that a Concat puts together, if they are all of one axis, and it is not the axis along
 * which they lie then.
 */
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
  const read = (name: string, index: number): readonly (Size | undefined)[] | undefined => {
    const operand = producer.inputs[index]
    const stated = intsAttribute(producer, name)?.map((each) => Size.of(each))
    return stated ?? (operand && shapes.integers(operand)?.elements)
  }
  const [starts, axes, steps] = [read('starts', 1), read('axes', 3), read('steps', 4)]
  const width = axis === undefined ? undefined : own[axis]
  if (axis === undefined || !width || changed.length !== 1 || steps?.some((step) => !step?.isOne))
    return undefined
  const start = starts?.[axes?.findIndex((each) => each?.value === axis) ?? axis]
  const count = whole[axis]?.divideExact(width)?.value
  const index = start?.divideExact(width)?.value
  return count && index !== undefined && index >= 0 ? { source, axis, index, count } : undefined
}

/** Relates a value to its parts where they will be stacked; false where they won't. */
export function relateParts(context: RuleContext, axis: number): boolean {
  const { node, shapes } = context
  const [made] = node.outputs
  const part = made && partOf(made, shapes)
  const reads = node.outputs.flatMap((output) => [...(output?.uses ?? [])])
  const isStacked = ({ node: next }: Use): boolean => {
    const isBetween = next.op === 'Unsqueeze' || next.op === 'Squeeze'
    const [behind] = isBetween ? [...(next.outputs[0]?.uses ?? [])] : []
    const stack = stackOf(behind?.node ?? next, shapes)
    return stack !== undefined && stack.source === node.inputs[0] && stack.axis === axis
  }
  const from = context.input(0) ?? []
  const first = context.output(0)?.[axis]
  const whole = from[axis]
  if (!part || part.axis !== axis || !reads.some(isStacked) || !first || !whole) return false
  for (const index of node.outputs.keys())
    for (const [position, each] of (context.output(index) ?? []).entries())
      context.unify(position === axis ? first : from[position], each)
  const parts = context.newAxis(Size.of(part.count))
  context.unifyProducts([whole], [parts, first])
  context.record({ parts })
  const isReadAlone = node.outputs.some((output) => output?.isGraphOutput)
  if (isReadAlone || !reads.every(isStacked)) context.block(parts, 'one of its parts is read alone')
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
  context.record({ parts })
}

/** Only the parts that stay are put together; what took the others out goes. */
export function rewriteStack(context: RewriteContext): void {
  const { node, edit } = context
  const kept = keptParts(context)
  if (!kept) return
  const inputs = [...node.inputs]
  const attributes = Object.fromEntries(node.attributes)
  edit.replaceNode(node, { op: node.op, inputs: kept.map((index) => inputs[index]), attributes })
  for (const input of inputs) if (input) eraseUnread(edit, input)
}

/** Which of the parts that stay a Slice takes, and along which axis; undefined where all stay, or it goes. */
export function keptPlace(
  context: RewriteContext,
): { readonly axis: number; readonly place: number } | undefined {
  const [value] = context.node.outputs
  const part = value && partOf(value, context.shapes)
  const place = part && keptParts(context)?.indexOf(part.index)
  return part && place !== undefined && place >= 0 ? { axis: part.axis, place } : undefined
}

/** A Split whose parts are stacked has an output for each that stays; false where all do. */
export function rewriteParts(context: RewriteContext): boolean {
  const { node, edit } = context
  const kept = keptParts(context)
  if (!kept) return false
  const outputs = kept.flatMap((index) => node.outputs[index] ?? [])
  const axis = node.attributes.get('axis')
  const isCounted = (node.graph.model.opsets.get('') ?? 0) >= 18
  const made = edit.addNode({
    op: node.op,
    inputs: [node.inputs[0]],
    outputs: outputs.map(({ name }) => name),
    attributes: {
      ...(axis && { axis }),
      ...(isCounted && { num_outputs: { kind: 'int', value: BigInt(outputs.length) } }),
    },
    before: node,
  })
  for (const [index, output] of outputs.entries())
    edit.replaceUses(output, made.outputs[index] as Value)
  return true
}

function keptParts(context: RewriteContext): readonly number[] | undefined {
  const parts = context.recorded()?.['parts']
  return parts && context.kept(parts)
}

function eraseUnread(edit: GraphEdit, value: Value): void {
  const { producer } = value
  if (!producer) return edit.eraseConstant(value)
  if (producer.outputs.some((each) => each && (each.uses.size > 0 || each.isGraphOutput))) return
  edit.erase(producer)
  for (const input of producer.inputs) if (input) eraseUnread(edit, input)
}
