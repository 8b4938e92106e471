/** Shapes of operators that pick members by their places or their values. */
import { intAttribute, stringAttribute } from '../../graph/graph.js'
import type { ShapeContext, ShapeRule } from '../rule.js'
import { Size } from '../symbolic.js'
import { fromFront } from './operand-values.js'

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

/** Shaped like the data; entries of a vector of sizes are written one by one. */
const scatter: ShapeRule = (context) => {
  context.set(0, context.dims(0), context.dataType(0))
  const known = context.elements(0)
  const at = context.elements(1)
  const written = context.elements(2)
  const isPlain = (stringAttribute(context.node, 'reduction') ?? 'none') === 'none'
  if (known?.dims.length !== 1 || !at || !written || !isPlain) return
  const elements = [...known.elements]
  for (const [index, place] of at.elements.entries()) {
    const number = place?.value
    if (number === undefined) return
    elements[number < 0 ? number + elements.length : number] = written.elements[index]
  }
  context.setElements(0, { dims: known.dims, elements })
}

const nonZero: ShapeRule = (context) => {
  const rank = context.dims(0)?.length
  context.set(0, [rank === undefined ? undefined : Size.of(Math.max(rank, 1)), undefined], 'int64')
}

const attributeSize = (context: ShapeContext, name: string): Size | undefined => {
  const stated = intAttribute(context.node, name)
  return stated === undefined ? undefined : Size.of(stated)
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

export const selectionRules: Readonly<Record<string, ShapeRule>> = {
  Gather: gather,
  GatherElements: gatherElements,
  GatherND: gatherND,
  Scatter: scatter,
  ScatterElements: scatter,
  ScatterND: scatter,
  OneHot: oneHot,
  NonZero: nonZero,
  TopK: topK,
  Compress: compress,
  Unique: unique,
  'com.microsoft.GatherBlockQuantized': gatherBlockQuantized,
}
