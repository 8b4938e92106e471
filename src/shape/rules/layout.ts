/** Shapes of operators that move members; on small integer tensors the members are moved too. */
import { intAttribute, intsAttribute } from '../../graph/graph.js'
import { elementCount } from '../../onnx/tensor.js'
import { isSmall, rearrange } from '../elements.js'
import type { ShapeContext, ShapeRule } from '../rule.js'
import { Size } from '../symbolic.js'
import { entryAt } from './elementwise.js'
import { fromFront, numbersOf, product, statedAxes, vector } from './operand-values.js'

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

export const layoutRules: Readonly<Record<string, ShapeRule>> = {
  Reshape: reshape,
  Flatten: flatten,
  Squeeze: squeeze,
  Unsqueeze: unsqueeze,
  Transpose: transpose,
  Concat: concat,
  Split: split,
  Expand: expand,
  Tile: tile,
  Pad: pad,
  DepthToSpace: depthToSpace,
  SpaceToDepth: depthToSpace,
}
