/** Shapes of slices and ranges: how many members lie between two places of which one may not be known. */
import { intsAttribute } from '../../graph/graph.js'
import { rearrange } from '../elements.js'
import type { ShapeContext, ShapeRule } from '../rule.js'
import { Size } from '../symbolic.js'
import { fromFront, numbersOf, vector } from './operand-values.js'

interface Range {
  readonly start: Size | undefined
  readonly end: Size | undefined
  readonly step: number | undefined
}

const FAR = 2 ** 31 - 1

/** Members of [start, end) with a step, of an axis; undefined where that is not known. */
function rangeLength(size: Size, range: Range): Size | undefined {
  const { step } = range
  if (step === undefined || step === 0) return undefined
  if (step < 0) {
    const isWhole = (range.start?.value ?? 0) >= FAR || range.start?.value === -1
    return isWhole && step === -1 && (range.end?.value ?? 0) <= -FAR ? size : undefined
  }
  const place = (at: Size | undefined): Size | undefined => {
    if (!at) return undefined
    const number = at.value
    // A table that is read up to a length holds so many rows, or the model would not run.
    if (number === undefined) return size.value === undefined ? upTo(at, size) : at
    if (number >= FAR) return size
    if (number < 0) {
      if (size.value !== undefined) return Size.of(Math.max(0, size.value + number))
      return size.add(at)
    }
    // An open axis has at least one member; more are not sure.
    if (size.value === undefined) return number <= 1 ? at : Size.min(at, size)
    return Size.of(Math.min(number, size.value))
  }
  const start = place(range.start)
  const end = place(range.end)
  if (!start || !end) return undefined
  const length = end.sub(start)
  if (length.value !== undefined) return Size.of(Math.max(0, Math.ceil(length.value / step)))
  return step === 1
    ? length
    : (length.divideExact(Size.of(step)) ?? length.add(Size.of(step - 1)).floorDiv(Size.of(step)))
}

/** A place in an axis, or its end where the place is beyond. */
function upTo(at: Size, size: Size): Size {
  const [part, whole] = at.ratioTo(size) ?? []
  const isInside =
    part !== undefined && whole !== undefined && part / whole >= 0 && part / whole <= 1
  return isInside ? at : Size.min(at, size)
}

const slice: ShapeRule = (context) => {
  const { node } = context
  const from = context.dims(0)
  if (!from) return context.set(0, undefined, context.dataType(0))
  const list = (name: string, input: number): readonly (Size | undefined)[] | undefined =>
    intsAttribute(node, name)?.map((n) => Size.of(n)) ??
    (node.inputs[input] ? vector(context, input) : undefined)
  const starts = list('starts', 1) ?? []
  const ends = list('ends', 2) ?? []
  const axes = list('axes', 3)
  const steps = list('steps', 4)
  const dims: (Size | undefined)[] = [...from]
  const ranges = new Map<number, Range>()
  for (const index of starts.keys()) {
    const stated = axes ? axes[index]?.value : index
    if (stated === undefined)
      return context.set(
        0,
        from.map(() => undefined),
        context.dataType(0),
      )
    const axis = fromFront(stated, from.length)
    const range = { start: starts[index], end: ends[index], step: steps ? steps[index]?.value : 1 }
    ranges.set(axis, range)
    dims[axis] = rangeLength(from[axis] as Size, range)
  }
  context.set(0, dims, context.dataType(0))
  sliceElements(context, ranges, dims)
}

function sliceElements(
  context: ShapeContext,
  ranges: ReadonlyMap<number, Range>,
  dims: readonly (Size | undefined)[],
): void {
  const known = context.elements(0)
  const lengths = numbersOf(dims.every((size) => size) ? (dims as Size[]) : undefined)
  if (!known || !lengths) return
  const firsts: number[] = []
  for (const [axis, count] of known.dims.entries()) {
    const range = ranges.get(axis)
    const first = range ? firstOf(range, count) : 0
    if (first === undefined) return
    firsts.push(first)
  }
  context.setElements(
    0,
    rearrange(known, lengths, (place) =>
      place.map((at, axis) => (firsts[axis] as number) + at * (ranges.get(axis)?.step ?? 1)),
    ),
  )
}

/** Where a range begins in an axis of `count`, counted from the front. */
function firstOf({ start, step }: Range, count: number): number | undefined {
  const raw = start?.value
  if (raw === undefined || step === undefined) return undefined
  if (raw < 0) return Math.max(raw + count, step < 0 ? -1 : 0)
  return Math.min(raw, step < 0 ? count - 1 : count)
}

const range: ShapeRule = (context) => {
  const [start, limit, delta] = [0, 1, 2].map((index) => context.elements(index)?.elements[0])
  const step = delta?.value
  const length =
    start && limit && step
      ? rangeLength(limit, { start, end: limit, step: Math.abs(step) })
      : undefined
  const count =
    start?.value !== undefined && limit?.value !== undefined && step
      ? Size.of(Math.max(0, Math.ceil((limit.value - start.value) / step)))
      : step === 1
        ? limit && start && limit.sub(start)
        : length
  context.set(0, [count], context.dataType(0))
  const numbers = count?.value
  if (numbers !== undefined && numbers <= 4096 && start && step)
    context.setElements(0, {
      dims: [numbers],
      elements: Array.from({ length: numbers }, (_, i) => start.add(Size.of(i * step))),
    })
}

export const sliceRules: Readonly<Record<string, ShapeRule>> = {
  Slice: slice,
  Range: range,
}
