/** Operators that move members: the gradient moves back. */

import { fromFront } from '../../axes/rule.js'
import { intAttribute, intsAttribute, stringAttribute, type Value } from '../../graph/graph.js'
import type { GradientContext, GradientRule } from '../gradient-rule.js'
import { unsupported } from '../unsupported.js'

/** Only the shape was written differently. */
const reshaped: GradientRule = {
  backward: (c) => [c.op('Reshape', [c.gradient(0), c.shapeOf(c.input(0))])],
}

const transpose: GradientRule = {
  backward(c) {
    const rank = c.rank(c.input(0))
    const order = intsAttribute(c.node, 'perm') ?? [...Array(rank).keys()].reverse()
    const inverse = order.map((_, axis) => order.indexOf(axis))
    return [c.op('Transpose', [c.gradient(0)], { perm: inverse })]
  },
}

/** The walk sums the copies. */
const expand: GradientRule = { broadcasts: true, backward: (c) => [c.gradient(0)] }

/** [r₀·d₀, r₁·d₁ …] as [r₀, d₀, r₁, d₁ …], summed over the copies. */
const tile: GradientRule = {
  backward(c) {
    const rank = c.rank(c.input(0))
    const pairs = c.op('Concat', [column(c, c.input(1)), column(c, c.shapeOf(c.input(0)))], {
      axis: 1,
    })
    const split = c.op('Reshape', [c.gradient(0), c.op('Reshape', [pairs, c.ints(-1)])])
    const copies = Array.from({ length: rank }, (_, axis) => 2 * axis)
    return [c.op('ReduceSum', [split, c.ints(...copies)], { keepdims: 0 })]
  },
}

const column = (c: GradientContext, vector: Value): Value => c.op('Unsqueeze', [vector, c.ints(1)])

const concat: GradientRule = {
  backward(c) {
    const { node } = c
    const rank = c.rank(c.output(0))
    const axis = fromFront(intAttribute(node, 'axis', 0), rank)
    const sizes = node.inputs.map((_, index) => c.sizeAlong(c.input(index), axis))
    const lengths = sizes.length === 1 ? (sizes[0] as Value) : c.op('Concat', sizes, { axis: 0 })
    const parts = c.edit.addNode({
      op: 'Split',
      inputs: [c.gradient(0), lengths],
      outputs: node.inputs.map((input) => `${input?.name ?? ''}/gradient`),
      attributes: { axis: { kind: 'int', value: BigInt(axis) } },
    })
    return node.inputs.map((_, index) => (c.needs(index) ? parts.outputs[index] : undefined))
  },
}

/** Parts that the loss doesn't see are zeros. */
const split: GradientRule = {
  backward(c) {
    const parts = c.node.outputs.map((output, index) =>
      output ? (c.gradient(index) ?? c.zerosLike(output)) : undefined,
    )
    return [c.op('Concat', parts, { axis: intAttribute(c.node, 'axis', 0) })]
  },
}

/**
 * Members go back to where they were read from, axis after axis: by padding where they are a run,
 * one by one where they are a stride.
 */
const slice: GradientRule = {
  backward(c) {
    const { node } = c
    const x = c.input(0)
    const rank = c.rank(x)
    const operand = (index: number): Value | undefined => node.inputs[index]
    const read = (value: Value | undefined): (number | undefined)[] | undefined =>
      value && c.shapes.integers(value)?.elements.map((size) => size?.value)
    const count = c.shapes.dims(c.input(1))?.[0]?.value
    const axes = read(operand(3)) ?? Array.from({ length: count ?? 0 }, (_, position) => position)
    const steps = operand(4) ? read(operand(4)) : axes.map(() => 1)
    if (count === undefined || !steps || axes.some((axis) => axis === undefined))
      throw unsupported(node, 'axes or steps that are computed')
    let g = c.gradient(0) as Value
    for (const [position, stated] of axes.entries()) {
      const axis = fromFront(stated as number, rank)
      const step = steps[position] ?? 1
      const range = [1, 2].map((index) => pick(c, c.input(index), position))
      const members = readMembers(c, x, axis, range as [Value, Value], step)
      g = step === 1 ? padBack(c, g, x, axis, members) : scatterBack(c, g, x, axis, members)
    }
    return [g]
  },
}

/** Entry `position` of a vector, as [1]. */
const pick = (c: GradientContext, vector: Value, position: number): Value =>
  c.op('Slice', [vector, c.ints(position), c.ints(position + 1)])

/** The numbers of the members that were read: int64 [n]. */
function readMembers(
  c: GradientContext,
  x: Value,
  axis: number,
  [start, end]: readonly [Value, Value],
  step: number,
): Value {
  return c.op('Slice', [allMembers(c, x, axis), start, end, c.ints(0), c.ints(step)])
}

/** The numbers of all members along an axis: int64 [n]. */
function allMembers(c: GradientContext, x: Value, axis: number): Value {
  const [zero, one] = [c.op('Squeeze', [c.ints(0)]), c.op('Squeeze', [c.ints(1)])]
  const size = c.op('Reshape', [c.sizeAlong(x, axis), c.ints()])
  return c.op('Range', [zero, size, one])
}

/** Zeros before and after a run of members along `axis`. */
function padBack(c: GradientContext, g: Value, x: Value, axis: number, members: Value): Value {
  const rank = c.rank(x)
  const size = c.sizeAlong(x, axis)
  // An empty run has no first member: everything is padding after it.
  const first = c.reduce('ReduceMin', c.op('Concat', [members, size], { axis: 0 }), [0])
  const length = c.op('Shape', [members])
  const after = c.op('Sub', [c.op('Sub', [size, first]), length])
  const zeros = (n: number): Value[] => (n > 0 ? [c.ints(...Array<number>(n).fill(0))] : [])
  const others = rank - axis - 1
  const pads = c.op(
    'Concat',
    [...zeros(axis), first, ...zeros(others + axis), after, ...zeros(others)],
    { axis: 0 },
  )
  return c.op('Pad', [g, pads])
}

/** Each member of g is written to its own place along `axis`. */
function scatterBack(
  c: GradientContext,
  g: Value,
  x: Value,
  axis: number,
  members: Value,
  reduction = 'none',
): Value {
  const rank = c.rank(x)
  const own = c.op('Shape', [g])
  // The other axes already have the size that g has.
  const before = axis > 0 ? [c.op('Slice', [own, c.ints(0), c.ints(axis)])] : []
  const behind = axis < rank - 1 ? [c.op('Slice', [own, c.ints(axis + 1), c.ints(rank)])] : []
  const whole = [...before, c.sizeAlong(x, axis), ...behind]
  const shape = whole.length > 1 ? c.op('Concat', whole, { axis: 0 }) : (whole[0] as Value)
  const zeros = c.op('Expand', [c.scalar(0, x), shape])
  const column = Array.from({ length: rank }, (_, each) => (each === axis ? -1 : 1))
  const places = c.op('Expand', [c.op('Reshape', [members, c.ints(...column)]), own])
  const adds = reduction === 'none' ? {} : { reduction }
  return c.op('ScatterElements', [zeros, places, g], { axis, ...adds })
}

/** What was added around is cut off, and what was cut off gets zeros; copies of members add up where they came from. */
const pad: GradientRule = {
  backward(c) {
    const { node } = c
    const mode = stringAttribute(node, 'mode') ?? 'constant'
    if (mode !== 'constant') return [padFromWithin(c, mode)]
    const back = c.op('Neg', [c.input(1)])
    const axes = node.inputs[3]
    return [c.op('Pad', [c.gradient(0), back, ...(axes ? [undefined, axes] : [])])]
  },
}

/** Axis by axis: members padded in the same way say of whom each is a copy. */
function padFromWithin(c: GradientContext, mode: string): Value | undefined {
  const x = c.input(0)
  const stated = c.node.inputs[3] && c.shapes.integers(c.input(3))?.elements
  const axes = stated?.map((axis) => axis?.value) ?? [...Array(c.rank(x)).keys()]
  if ((c.node.inputs[3] && !stated) || axes.includes(undefined))
    throw unsupported(c.node, 'axes that are computed')
  const pads = c.shapes.integers(c.input(1))?.elements
  let g = c.gradient(0)
  for (const [at, axis] of axes.entries()) {
    const places = [at, axes.length + at]
    if (!g || axis === undefined || places.every((place) => pads?.[place]?.isZero)) continue
    const own = fromFront(axis, c.rank(x))
    const around = c.op(
      'Concat',
      places.map((place) => pick(c, c.input(1), place)),
      { axis: 0 },
    )
    const members = c.op('Pad', [allMembers(c, x, own), around], { mode })
    g = scatterBack(c, g, x, own, members, 'add')
  }
  return g
}

const trilu: GradientRule = {
  backward: (c) => [
    c.op('Trilu', [c.gradient(0), c.node.inputs[1]], {
      upper: intAttribute(c.node, 'upper', 1),
    }),
  ],
}

/** The other way round, in the same mode: DCR's inverse is SpaceToDepth, CRD's has to be spelled out. */
const depthToSpace: GradientRule = {
  backward(c) {
    const { node } = c
    const block = intAttribute(node, 'blocksize', 1)
    const isCrd = stringAttribute(node, 'mode') === 'CRD'
    const shape = c.op('Shape', [c.input(0)])
    const at = (axis: number): Value => c.op('Slice', [shape, c.ints(axis), c.ints(axis + 1)])
    const [b, h, w] = [at(0), at(2), at(3)]
    const channels = c.op('Div', [at(1), c.ints(block * block)])
    // [B, C, H, b, W, b] is what the output is made of.
    const parts = c.op('Concat', [b, channels, h, c.ints(block), w, c.ints(block)], { axis: 0 })
    const split = c.op('Reshape', [c.gradient(0), parts])
    const order = isCrd ? [0, 1, 3, 5, 2, 4] : [0, 3, 5, 1, 2, 4]
    return [c.op('Reshape', [c.op('Transpose', [split], { perm: order }), shape])]
  },
}

const spaceToDepth: GradientRule = {
  backward: (c) => [
    c.op('DepthToSpace', [c.gradient(0)], { blocksize: intAttribute(c.node, 'blocksize', 1) }),
  ],
}

export const layoutRules: Readonly<Record<string, GradientRule>> = {
  Reshape: reshaped,
  Flatten: reshaped,
  Squeeze: reshaped,
  Unsqueeze: reshaped,
  Transpose: transpose,
  Expand: expand,
  Tile: tile,
  Concat: concat,
  Split: split,
  Slice: slice,
  Pad: pad,
  Trilu: trilu,
  DepthToSpace: depthToSpace,
  SpaceToDepth: spaceToDepth,
}
