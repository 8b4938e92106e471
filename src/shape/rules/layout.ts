/** Shapes of operators that move members; on small integer tensors the members are moved too. */
import { intAttribute, intsAttribute } from '../../graph/graph.js'
import { type DataType, findDataType } from '../../onnx/data-type.js'
import { elementCount } from '../../onnx/tensor.js'
import { isSmall, readElements, rearrange } from '../elements.js'
import type { ShapeContext, ShapeRule } from '../rule.js'
import { Size } from '../symbolic.js'
import { entryAt } from './elementwise.js'

const fromFront = (axis: number, rank: number): number => (axis < 0 ? axis + rank : axis)

const product = (sizes: readonly Size[]): Size =>
  sizes.reduce((total, size) => total.mul(size), Size.of(1))

const numbersOf = (dims: readonly Size[] | undefined): number[] | undefined => {
  const values = dims?.map((size) => size.value)
  return values?.every((value) => value !== undefined) ? (values as number[]) : undefined
}

/** The elements of an integer vector operand, or undefined where its length is not known. */
function vector(context: ShapeContext, input: number): readonly (Size | undefined)[] | undefined {
  const known = context.elements(input)
  if (known) return known.elements
  const length = context.dims(input)?.[0]?.value
  return length === undefined ? undefined : Array<undefined>(length).fill(undefined)
}

/** Same members in another shape. */
function reshapeElements(context: ShapeContext, dims: readonly (Size | undefined)[]): void {
  const known = context.elements(0)
  const shape = numbersOf(dims.every((size) => size) ? (dims as Size[]) : undefined)
  if (known && shape && elementCount(shape) === known.elements.length)
    context.setElements(0, { dims: shape, elements: known.elements })
}

function setReshaped(context: ShapeContext, dims: readonly (Size | undefined)[]): void {
  context.set(0, dims, context.dataType(0))
  reshapeElements(context, dims)
}

const reshape: ShapeRule = (context) => {
  const from = context.dims(0)
  const target = vector(context, 1) ?? intsAttribute(context.node, 'shape')?.map((n) => Size.of(n))
  if (!target) return context.set(0, undefined, context.dataType(0))
  const keepsZero = intAttribute(context.node, 'allowzero', 0) === 1
  const dims = target.map((size, axis) => (size?.isZero && !keepsZero ? from?.[axis] : size))
  const open = target.findIndex((size) => size?.value === -1)
  // One entry that is not known is as good as a -1, if the total is known.
  const unknown = dims.flatMap((size, axis) => (size && axis !== open ? [] : [axis]))
  if (from && unknown.length === 1) {
    const others = dims.filter((size, axis) => size && axis !== unknown[0]) as Size[]
    dims[unknown[0] as number] = quotient(product(from), product(others))
  } else if (open >= 0) dims[open] = undefined
  setReshaped(context, dims)
}

const quotient = (total: Size, others: Size): Size =>
  total.divideExact(others) ?? total.floorDiv(others)

const flatten: ShapeRule = (context) => {
  const from = context.dims(0)
  if (!from) return
  const axis = fromFront(intAttribute(context.node, 'axis', 1), from.length)
  setReshaped(context, [product(from.slice(0, axis)), product(from.slice(axis))])
}

/** Axes given as an operand since opset 13, as an attribute before. */
const statedAxes = (context: ShapeContext, input: number): number[] | undefined => {
  const stated = intsAttribute(context.node, 'axes')
  if (stated) return [...stated]
  const operand = context.elements(input)?.elements.map((size) => size?.value)
  return operand?.every((axis) => axis !== undefined) ? (operand as number[]) : undefined
}

const squeeze: ShapeRule = (context) => {
  const from = context.dims(0)
  if (!from) return
  const hasAxes = context.node.inputs[1] || context.node.attributes.has('axes')
  const axes = statedAxes(context, 1)?.map((axis) => fromFront(axis, from.length))
  if (hasAxes && !axes) return
  setReshaped(
    context,
    from.filter((size, axis) => (axes ? !axes.includes(axis) : !size.isOne)),
  )
}

const unsqueeze: ShapeRule = (context) => {
  const from = context.dims(0)
  const stated = statedAxes(context, 1)
  if (!from || !stated) return
  const rank = from.length + stated.length
  const axes = stated.map((axis) => fromFront(axis, rank))
  const rest = [...from]
  setReshaped(
    context,
    Array.from({ length: rank }, (_, axis) => (axes.includes(axis) ? Size.of(1) : rest.shift())),
  )
}

const transpose: ShapeRule = (context) => {
  const from = context.dims(0)
  if (!from) return context.set(0, undefined, context.dataType(0))
  const order = intsAttribute(context.node, 'perm') ?? [...from.keys()].reverse()
  context.set(
    0,
    order.map((axis) => from[axis]),
    context.dataType(0),
  )
  const known = context.elements(0)
  if (!known) return
  const dims = order.map((axis) => known.dims[axis] as number)
  context.setElements(
    0,
    rearrange(known, dims, (place) => known.dims.map((_, axis) => place[order.indexOf(axis)] ?? 0)),
  )
}

const concat: ShapeRule = (context) => {
  const shapes = [...context.node.inputs.keys()].map((index) => context.dims(index))
  const [first] = shapes.filter((shape) => shape)
  if (!first) return
  const axis = fromFront(intAttribute(context.node, 'axis', 1), first.length)
  const total = shapes.every((shape) => shape)
    ? shapes.reduce((sum, shape) => sum.add((shape as Size[])[axis] as Size), Size.of(0))
    : undefined
  const dims = first.map((_, position) => {
    if (position === axis) return total
    // A number says more than a symbol, and a symbol of the inputs more than one made here.
    const sizes = shapes.flatMap((shape) => shape?.[position] ?? [])
    return sizes.find((size) => size.value !== undefined) ?? sizes[0]
  })
  context.set(0, dims, context.dataType(0))
  if (first.length === 1 && total?.value !== undefined && total.value <= 4096) {
    const elements = [...context.node.inputs.keys()].flatMap(
      (index) => vector(context, index) ?? [],
    )
    if (elements.length === total.value && elements.some((element) => element))
      context.setElements(0, { dims: [total.value], elements })
  }
}

const split: ShapeRule = (context) => {
  const { node } = context
  const from = context.dims(0)
  if (!from) return
  const axis = fromFront(intAttribute(node, 'axis', 0), from.length)
  const count = node.outputs.length
  const sizes =
    intsAttribute(node, 'split')?.map((n) => Size.of(n)) ??
    (node.inputs[1] ? vector(context, 1) : undefined)
  const known = context.elements(0)
  const chunk = equalPart(from[axis] as Size, count)
  let at = 0
  for (const index of node.outputs.keys()) {
    const isLast = index === count - 1
    const even = isLast && chunk ? (from[axis] as Size).sub(chunk.mul(Size.of(count - 1))) : chunk
    const size = node.inputs[1] || node.attributes.has('split') ? sizes?.[index] : even
    context.set(index, from.with(axis, size ?? context.fresh(index, axis)), context.dataType(0))
    if (known?.dims.length === 1 && size?.value !== undefined)
      context.setElements(index, {
        dims: [size.value],
        elements: known.elements.slice(at, at + size.value),
      })
    at += size?.value ?? 0
  }
}

const equalPart = (size: Size, count: number): Size | undefined =>
  size.value === undefined
    ? size.divideExact(Size.of(count))
    : Size.of(Math.ceil(size.value / count))

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
    if (number === undefined) return size.value === undefined ? Size.min(at, size) : at
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

const gather: ShapeRule = (context) => {
  const data = context.dims(0)
  const indices = context.dims(1)
  if (!data || !indices) return context.set(0, undefined, context.dataType(0))
  const axis = fromFront(intAttribute(context.node, 'axis', 0), data.length)
  const dims = [...data.slice(0, axis), ...indices, ...data.slice(axis + 1)]
  context.set(0, dims, context.dataType(0))
  const known = context.elements(0)
  const at = context.elements(1)
  if (known?.dims.length !== 1 || !at) return
  const count = known.dims[0] as number
  const elements = at.elements.map((size) =>
    size?.value === undefined
      ? undefined
      : known.elements[size.value < 0 ? size.value + count : size.value],
  )
  context.setElements(0, { dims: at.dims, elements })
}

const expand: ShapeRule = (context) => {
  const from = context.dims(0)
  const target = vector(context, 1)
  if (!from || !target) return context.set(0, undefined, context.dataType(0))
  const rank = Math.max(from.length, target.length)
  const dims = Array.from({ length: rank }, (_, axis) => {
    const own = from[axis - rank + from.length]
    const wanted = target[axis - rank + target.length]
    if (!own) return wanted
    if (axis - rank + target.length < 0) return own
    if (wanted?.isOne) return own
    // An entry that is not known can only repeat a 1 or say the size that is there.
    if (!wanted) return own.isOne ? undefined : own
    return own.isOne || own.value === undefined ? wanted : own
  })
  context.set(0, dims, context.dataType(0))
  const known = context.elements(0)
  const shape = numbersOf(dims.every((size) => size) ? (dims as Size[]) : undefined)
  if (known && shape && isSmall(shape))
    context.setElements(0, {
      dims: shape,
      elements: Array.from({ length: elementCount(shape) }, (_, i) => entryAt(known, shape, i)),
    })
}

const tile: ShapeRule = (context) => {
  const from = context.dims(0)
  const repeats = vector(context, 1)
  if (!from) return
  context.set(
    0,
    from.map((size, axis) => {
      const times = repeats?.[axis]
      return times && size.mul(times)
    }),
    context.dataType(0),
  )
}

const shape: ShapeRule = (context) => {
  const from = context.dims(0)
  if (!from) return context.set(0, undefined, 'int64')
  const start = fromFront(intAttribute(context.node, 'start', 0), from.length)
  const end = fromFront(intAttribute(context.node, 'end', from.length), from.length)
  const elements = from.slice(Math.max(start, 0), Math.max(end, 0))
  context.set(0, [Size.of(elements.length)], 'int64')
  context.setElements(0, { dims: [elements.length], elements })
}

const size: ShapeRule = (context) => {
  const from = context.dims(0)
  context.set(0, [], 'int64')
  if (from) context.setElements(0, { dims: [], elements: [product(from)] })
}

const constantOfShape: ShapeRule = (context) => {
  const value = context.node.attributes.get('value')
  const tensor = value?.kind === 'tensor' ? value.value : undefined
  const type: DataType = tensor?.dataType ?? 'float32'
  const target = vector(context, 0)
  if (!target) return context.set(0, undefined, type)
  context.set(0, target, type)
  const dims = numbersOf(target.every((each) => each) ? (target as Size[]) : undefined)
  const fill = tensor ? readElements(tensor)?.elements[0] : Size.of(0)
  if (dims && fill && isSmall(dims))
    context.setElements(0, { dims, elements: Array(elementCount(dims)).fill(fill) })
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

const pad: ShapeRule = (context) => {
  const from = context.dims(0)
  if (!from) return
  const pads = intsAttribute(context.node, 'pads')?.map((n) => Size.of(n)) ?? vector(context, 1)
  const axes = statedAxes(context, 3) ?? [...from.keys()]
  const dims: (Size | undefined)[] = [...from]
  for (const [index, stated] of axes.entries()) {
    const axis = fromFront(stated, from.length)
    const [before, after] = [pads?.[index], pads?.[index + axes.length]]
    dims[axis] = before && after ? (from[axis] as Size).add(before).add(after) : undefined
  }
  context.set(0, dims, context.dataType(0))
}

const oneHot: ShapeRule = (context) => {
  const indices = context.dims(0)
  if (!indices) return
  const depth = context.elements(1)?.elements[0]
  const axis = fromFront(intAttribute(context.node, 'axis', -1), indices.length + 1)
  context.set(0, indices.toSpliced(axis, 0, depth as Size), context.dataType(2))
  const known = context.elements(0)
  const [off, on] = context.elements(2)?.elements ?? []
  const count = depth?.value
  if (known?.dims.length !== 1 || axis !== 1 || count === undefined || count > 64) return
  context.setElements(0, {
    dims: [known.elements.length, count],
    elements: known.elements.flatMap((at) =>
      Array.from({ length: count }, (_, i) => (at?.value === i ? on : off)),
    ),
  })
}

const gatherElements: ShapeRule = (context) => context.set(0, context.dims(1), context.dataType(0))

const gatherND: ShapeRule = (context) => {
  const data = context.dims(0)
  const indices = context.dims(1)
  const depth = indices?.at(-1)?.value
  if (!data || !indices || depth === undefined) return
  const batch = intAttribute(context.node, 'batch_dims', 0)
  context.set(0, [...indices.slice(0, -1), ...data.slice(batch + depth)], context.dataType(0))
}

const nonZero: ShapeRule = (context) => {
  const rank = context.dims(0)?.length
  context.set(0, [rank === undefined ? undefined : Size.of(Math.max(rank, 1)), undefined], 'int64')
}

const topK: ShapeRule = (context) => {
  const from = context.dims(0)
  if (!from) return
  const axis = fromFront(intAttribute(context.node, 'axis', -1), from.length)
  const count = context.elements(1)?.elements[0] ?? attributeSize(context, 'k')
  const dims: (Size | undefined)[] = [...from]
  dims[axis] = count
  context.set(0, dims, context.dataType(0))
  context.set(1, dims, 'int64')
}

const attributeSize = (context: ShapeContext, name: string): Size | undefined => {
  const stated = intAttribute(context.node, name)
  return stated === undefined ? undefined : Size.of(stated)
}

const depthToSpace: ShapeRule = (context) => {
  const [batch, channels, height, width] = context.dims(0) ?? []
  const block = Size.of(intAttribute(context.node, 'blocksize', 1))
  if (!batch || !channels || !height || !width) return
  const dims =
    context.node.op === 'DepthToSpace'
      ? [batch, channels.floorDiv(block.mul(block)), height.mul(block), width.mul(block)]
      : [batch, channels.mul(block).mul(block), height.floorDiv(block), width.floorDiv(block)]
  context.set(0, dims, context.dataType(0))
}

const eyeLike: ShapeRule = (context) =>
  context.set(
    0,
    context.dims(0),
    findDataType(intAttribute(context.node, 'dtype', 0)) ?? context.dataType(0),
  )

const constant: ShapeRule = () => {}

const randomShape: ShapeRule = (context) =>
  context.set(
    0,
    intsAttribute(context.node, 'shape')?.map((n) => Size.of(n)),
    findDataType(intAttribute(context.node, 'dtype', 1)),
  )

const compress: ShapeRule = (context) => {
  const from = context.dims(0)
  const axis = intAttribute(context.node, 'axis')
  if (axis === undefined) return context.set(0, [undefined], context.dataType(0))
  context.set(
    0,
    from?.map((each, index) => (index === fromFront(axis, from.length) ? undefined : each)),
    context.dataType(0),
  )
}

const unique: ShapeRule = (context) => {
  context.set(0, [undefined], context.dataType(0))
  for (const index of [1, 2, 3]) context.set(index, [undefined], 'int64')
}

const gatherBlockQuantized: ShapeRule = (context) => {
  const { node } = context
  const data = context.dims(0)
  const indices = context.dims(1)
  if (!data || !indices) return
  const axis = fromFront(intAttribute(node, 'gather_axis', 0), data.length)
  const blocked = fromFront(intAttribute(node, 'quantize_axis', 1), data.length)
  const perElement = context.dataType(0) === 'uint8' ? 8 / intAttribute(node, 'bits', 4) : 1
  const full = data.map((each, index) => (index === blocked ? each.mul(Size.of(perElement)) : each))
  context.set(0, [...full.slice(0, axis), ...indices, ...full.slice(axis + 1)], context.dataType(2))
}

export const layoutRules: Readonly<Record<string, ShapeRule>> = {
  Reshape: reshape,
  Flatten: flatten,
  Squeeze: squeeze,
  Unsqueeze: unsqueeze,
  Transpose: transpose,
  Concat: concat,
  Split: split,
  Slice: slice,
  Gather: gather,
  GatherElements: gatherElements,
  GatherND: gatherND,
  Expand: expand,
  Tile: tile,
  Shape: shape,
  Size: size,
  ConstantOfShape: constantOfShape,
  Range: range,
  Pad: pad,
  OneHot: oneHot,
  NonZero: nonZero,
  TopK: topK,
  DepthToSpace: depthToSpace,
  SpaceToDepth: depthToSpace,
  EyeLike: eyeLike,
  Constant: constant,
  RandomNormal: randomShape,
  RandomUniform: randomShape,
  Compress: compress,
  Unique: unique,
  'com.microsoft.GatherBlockQuantized': gatherBlockQuantized,
}
