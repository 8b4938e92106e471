/** Operators that put segments together and take them out: Concat, Split and Slice. */
import { intAttribute, intsAttribute, type Node, type Value } from '../../graph/graph.js'
import { Size } from '../../shape/symbolic.js'
import type { Axis } from '../axis.js'
import { type AxisRule, fromFront, type RewriteContext, type RuleContext } from '../rule.js'
import { segmentOf, sumOf } from '../unify.js'
import {
  keptPlace,
  relateParts,
  relateStack,
  rewriteParts,
  rewriteStack,
  stackOf,
} from './stack.js'

/** Parts from the input `first` on, each with `apart - 1` others behind it that say nothing of its axes. */
export const concat = (first: number, apart: number): AxisRule => ({
  relate(context) {
    const out = context.output(0) ?? []
    const axis = fromFront(intAttribute(context.node, 'axis', 1), out.length)
    const parts: Axis[] = []
    for (let index = first; index < context.node.inputs.length; index += apart) {
      const input = context.input(index)
      for (const [position, each] of (input ?? []).entries())
        if (position === axis) parts.push(each)
        else context.unify(each, out[position])
    }
    const target = out[axis]
    if (!target) return
    // Single members, each from a place of its own: the axis stays whole.
    const stack = apart === 1 ? stackOf(context.node, context.shapes) : undefined
    if (stack) relateStack(context, stack, axis)
    else if (parts.length > 1 && parts.every(({ size }) => size.isOne)) {
      context.block(target, 'its members are put together one by one')
      context.unify(target, takenApart(context, axis))
    } else {
      const total = parts.reduce((size, part) => size.add(part.size), Size.of(0))
      context.unify(sumOf(parts, total), target)
    }
  },
  rewrite(context) {
    rewriteStack(context)
  },
})

/** The axis that a Split took apart into the members that a Concat puts together, each on a way of its own. */
function takenApart(context: RuleContext, axis: number): Axis | undefined {
  const sources = context.node.inputs.map((value) => value && splitBehind(value))
  const [split] = sources[0] ?? []
  const isInOrder = sources.every((each, index) => each?.[0] === split && each?.[1] === index)
  const whole = split?.inputs[0]
  return isInOrder && whole ? context.axesOf(whole)?.[axis] : undefined
}

/** The nearest Split that a value comes from, and which part of it. */
function splitBehind(value: Value): [Node, number] | undefined {
  const queue = [value]
  for (let at = 0; at < queue.length && at < 32; at++) {
    const each = queue[at] as Value
    const { producer } = each
    if (producer?.op === 'Split') return [producer, producer.outputs.indexOf(each)]
    for (const input of producer?.inputs ?? []) if (input) queue.push(input)
  }
  return undefined
}

/** Joins each output with its segment of the input's axis. */
function relateSegments(context: RuleContext, axis: number, outputs: readonly number[]): void {
  const from = context.input(0) ?? []
  let start = Size.of(0)
  const isOneByOne = outputs.every((index) => context.output(index)?.[axis]?.size.isOne)
  if (isOneByOne) context.block(from[axis], 'its members are taken apart one by one')
  for (const index of outputs) {
    const to = context.output(index)
    const target = to?.[axis]
    if (!to || !target) continue
    for (const [position, each] of from.entries())
      if (position !== axis) context.unify(each, to[position])
    if (!isOneByOne) relateSegment(context, from[axis] as Axis, target, start)
    start = start.add(target.size)
  }
}

function relateSegment(context: RuleContext, whole: Axis, part: Axis, start: Size): void {
  const segment = segmentOf(whole, start, part.size)
  if (segment) context.unify(segment, part)
  else if (whole.size.value !== undefined) {
    context.block(whole, `is cut at ${start} + ${part.size}, inside a factor`)
    context.block(part, `is cut from ${whole.size} at ${start}, inside a factor`)
  }
}

export const split: AxisRule = {
  relate(context) {
    const axis = fromFront(intAttribute(context.node, 'axis', 0), context.input(0)?.length ?? 0)
    const outputs = [...context.node.outputs.keys()]
    if (!relateParts(context, axis)) relateSegments(context, axis, outputs)
  },
  rewrite(context) {
    if (rewriteParts(context)) return
    const axis = fromFront(intAttribute(context.node, 'axis', 0), context.input(0)?.length ?? 0)
    const wanted = [...context.node.outputs.keys()].map((index) => {
      const part = context.output(index)?.[axis]
      return part && context.sizeOf(part)
    })
    const numbers = wanted.map((size) => size?.value)
    const stated = intsAttribute(context.node, 'split')
    if (stated) {
      if (numbers.every((n) => n !== undefined)) context.setInts('split', numbers as number[])
      return
    }
    const now = context.computed(1)
    if (now) {
      const changed = wanted.map((size, i) => (size && !now[i]?.equals(size) ? size : undefined))
      if (changed.some((size) => size)) context.setIntegers(1, changed)
      return
    }
    // Equal parts by the number of outputs: state the sizes once they differ.
    if (new Set(numbers).size > 1) {
      context.setIntegers(1, wanted)
      context.removeAttribute('num_outputs')
    }
  },
}

interface SliceRange {
  readonly axis: number
  readonly start: number | undefined
  readonly step: number
}

/** The ranges of a Slice, with starts counted from the front where that is known. */
function sliceRanges(context: Pick<RuleContext, 'node' | 'shapes' | 'input'>): SliceRange[] {
  const { node, shapes } = context
  const rank = context.input(0)?.length ?? 0
  const read = (input: number, attribute: string): (number | undefined)[] | undefined => {
    const stated = intsAttribute(node, attribute)
    if (stated) return [...stated]
    const value = node.inputs[input]
    return value && shapes.integers(value)?.elements.map((size) => size?.value)
  }
  const starts = read(1, 'starts') ?? []
  const axes = read(3, 'axes')
  const steps = read(4, 'steps')
  const count =
    starts.length || (node.inputs[1] ? (shapes.dims(node.inputs[1])?.[0]?.value ?? 0) : 0)
  return Array.from({ length: count }, (_, index) => {
    const axis = fromFront(axes ? (axes[index] ?? 0) : index, rank)
    const size = context.input(0)?.[axis]?.size
    const raw = starts[index]
    const start =
      raw === undefined || raw >= 0 ? raw : size?.value === undefined ? undefined : size.value + raw
    return {
      axis,
      start: start === undefined ? undefined : Math.max(start, 0),
      step: steps?.[index] ?? 1,
    }
  })
}

export const slice: AxisRule = {
  relate(context) {
    const from = context.input(0) ?? []
    const to = context.output(0) ?? []
    const ranges = new Map(sliceRanges(context).map((range) => [range.axis, range]))
    for (const [index, whole] of from.entries()) {
      const part = to[index]
      const range = ranges.get(index)
      if (!part) continue
      if (!range || (whole.size.equals(part.size) && range.step === 1)) context.unify(whole, part)
      else if (!relateParts(context, index)) relateRange(context, whole, part, range)
    }
  },
  rewrite(context) {
    rewriteSlice(context)
  },
}

function relateRange(context: RuleContext, whole: Axis, part: Axis, range: SliceRange): void {
  if (range.step === 1) {
    if (range.start !== undefined) return relateSegment(context, whole, part, Size.of(range.start))
    context.block(whole, 'is cut at a place that is not known')
    return context.block(part, 'is cut out at a place that is not known')
  }
  // Every n-th member: the axis is [members, n] and one of n is taken.
  const members = range.step > 1 ? whole.size.divideExact(Size.of(range.step)) : undefined
  if (members?.equals(part.size) && range.start !== undefined && range.start < range.step) {
    const phase = context.newAxis(Size.of(range.step))
    context.block(phase, 'every n-th member is taken')
    context.unifyProducts([whole], [part, phase])
    return
  }
  context.block(whole, `is read with step ${range.step}`)
  context.block(part, `is read with step ${range.step}`)
}

/** Starts and ends move by the number of members that went before them. */
function rewriteSlice(context: RewriteContext): void {
  const from = context.input(0) ?? []
  const stay = keptPlace(context)
  for (const [position, range] of sliceRanges(context).entries()) {
    const own = context.output(0)?.[range.axis]
    if (own && stay?.axis === range.axis) {
      const width = context.sizeOf(own)
      const start = width.mul(Size.of(stay.place))
      context.setRange(position, start, start.add(width))
      continue
    }
    const whole = from[range.axis]
    const kept = whole && context.kept(whole)
    if (!whole || !kept || range.step !== 1) continue
    const size = whole.size.value as number
    const part = context.output(0)?.[range.axis] as Axis
    const length = context.sizeOf(part).value
    if (range.start === undefined || length === undefined) continue
    const start = kept.filter((member) => member < (range.start as number)).length
    const oldEnd = range.start + (part.size.value as number)
    context.setRange(position, Size.of(start), oldEnd >= size ? undefined : Size.of(start + length))
  }
}
