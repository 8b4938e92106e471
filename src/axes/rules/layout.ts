/**
 * Operators that move members without changing them: Reshape splits and merges axes and so introduces
 * factors; Concat, Split and Slice make and take segments; Expand and Tile repeat.
 */
import { intAttribute, intsAttribute, stringAttribute } from '../../graph/graph.js'
import { Size } from '../../shape/symbolic.js'
import type { AxisRule, RewriteContext } from '../rule.js'
import { concat, slice, split } from './segments.js'

const transpose: AxisRule = {
  relate(context) {
    const from = context.input(0) ?? []
    const to = context.output(0) ?? []
    const order = intsAttribute(context.node, 'perm') ?? [...from.keys()].reverse()
    for (const [index, source] of order.entries()) context.unify(from[source], to[index])
  },
}

/** Members keep their order; only the factors are written differently. */
const sameOrder: AxisRule = {
  relate(context) {
    context.unifyProducts(context.input(0) ?? [], context.output(0) ?? [])
  },
}

/**
 * The shape operand must say the output's sizes after the removal; a -1 or 0 that stood there before says
 * them already. A 0 that a division now comes to is none of those.
 */
export function rewriteShapeOperand(context: RewriteContext, input: number): void {
  const now = context.computed(input)
  const out = context.output(0)
  const operand = context.valueOf(input)
  if (!now || !out || !operand) return
  const before = context.shapes.integers(operand)?.elements
  const wanted = out.map((axis) => context.sizeOf(axis))
  const offset = wanted.length - now.length
  const changed = now.map((size, index) => {
    const want = wanted[index + offset]
    const stated = before?.[index]?.value
    if (!size || !want || stated === -1 || stated === 0 || size.equals(want)) return undefined
    return want
  })
  if (changed.some((size) => size)) context.setIntegers(input, changed)
}

const reshape: AxisRule = {
  ...sameOrder,
  rewrite(context) {
    rewriteShapeOperand(context, 1)
  },
}

/** Aligned at the right; a 1 becomes copies, and those are a factor of their own. */
const expand: AxisRule = {
  relate(context) {
    const from = context.input(0) ?? []
    const to = context.output(0) ?? []
    for (const [index, target] of to.entries()) {
      const source = from[from.length - to.length + index]
      if (source?.size.equals(target.size)) context.unify(source, target)
      else if (!source || source.size.isOne) context.mark(target, 'repeated')
      else {
        context.block(source, `is expanded to ${target.size}`)
        context.block(target, `is expanded from ${source.size}`)
      }
    }
  },
  rewrite(context) {
    // A 1 in the operand keeps what the input has.
    const now = context.computed(1)
    const out = context.output(0)
    if (!now || !out) return
    const offset = out.length - now.length
    const changed = now.map((size, index) => {
      const target = out[index + offset]
      const want = target && context.sizeOf(target)
      return !size || !want || size.isOne || size.equals(want) ? undefined : want
    })
    if (changed.some((size) => size)) context.setIntegers(1, changed)
  },
}

/** n copies of an axis laid end to end: [copies, axis]. */
const tile: AxisRule = {
  relate(context) {
    const from = context.input(0) ?? []
    const to = context.output(0) ?? []
    for (const [index, target] of to.entries()) {
      const source = from[index]
      if (!source) continue
      const copies = target.size.divideExact(source.size)
      if (source.size.equals(target.size)) context.unify(source, target)
      else if (copies) {
        const repeated = context.newAxis(copies)
        context.mark(repeated, 'repeated')
        context.unifyProducts([target], [repeated, source])
      } else context.block(source, 'is tiled an unknown number of times')
    }
  },
  rewrite(context) {
    const now = context.computed(1)
    const from = context.input(0)
    const out = context.output(0)
    if (!now || !from || !out) return
    const changed = now.map((size, index) => {
      const [target, source] = [out[index], from[index]]
      const want = target && source && context.sizeOf(target).divideExact(context.sizeOf(source))
      return !size || !want || size.equals(want) ? undefined : want
    })
    if (changed.some((size) => size)) context.setIntegers(1, changed)
  },
}

/** Where padding is 0 an axis is itself; elsewhere it is [before | axis | after]. */
const pad: AxisRule = {
  relate(context) {
    const from = context.input(0) ?? []
    const to = context.output(0) ?? []
    for (const [index, source] of from.entries()) {
      const target = to[index]
      if (!target) continue
      if (source.size.equals(target.size)) context.unify(source, target)
      else if (source.size.value !== undefined || target.size.value !== undefined) {
        context.block(source, 'is padded')
        context.block(target, 'is padded')
      }
    }
  },
}

/** Positions are counted: a member's value depends on how many stand before it. */
const positional = (text: string): AxisRule => ({
  relate(context) {
    for (const axis of context.output(0) ?? []) if (!axis.size.isOne) context.block(axis, text)
  },
})

/** The triangle depends on positions in the last two axes; the others pass. */
const triangle: AxisRule = {
  relate(context) {
    const from = context.input(0) ?? []
    const to = context.output(0) ?? []
    for (const [index, axis] of from.entries()) {
      context.unify(axis, to[index])
      if (index >= from.length - 2) context.block(axis, 'a triangle of positions is cut from it')
    }
  },
}

/** [B, C, H, W] with C = [c, b, b] (or [b, b, c]) to [B, c, H·b, W·b]. */
const depthToSpace: AxisRule = {
  relate(context) {
    const [batch, channels, height, width] = context.input(0) ?? []
    const [outBatch, outChannels, outHeight, outWidth] = context.output(0) ?? []
    const block = Size.of(intAttribute(context.node, 'blocksize', 1))
    if (!channels || !outChannels || !height || !outHeight || !width || !outWidth) return
    context.unify(batch, outBatch)
    const [down, across] = [context.newAxis(block), context.newAxis(block)]
    const isCrd = stringAttribute(context.node, 'mode') === 'CRD'
    context.unifyProducts(
      [channels],
      isCrd ? [outChannels, down, across] : [down, across, outChannels],
    )
    context.unifyProducts([outHeight], [height, down])
    context.unifyProducts([outWidth], [width, across])
    for (const axis of [down, across]) context.block(axis, 'becomes space')
  },
}

/** Shape arithmetic: sizes are read, members are not. */
const sizesOnly: AxisRule = { relate: () => {} }

/** The output's axes are new; the operand states them. */
const filled: AxisRule = {
  relate: () => {},
  rewrite(context) {
    rewriteShapeOperand(context, 0)
  },
}

export const layoutRules: Readonly<Record<string, AxisRule>> = {
  Transpose: transpose,
  Reshape: reshape,
  Flatten: sameOrder,
  Squeeze: sameOrder,
  Unsqueeze: sameOrder,
  Expand: expand,
  Tile: tile,
  Concat: concat(0, 1),
  'com.microsoft.QLinearConcat': concat(2, 3),
  Split: split,
  Slice: slice,
  Pad: pad,
  Trilu: triangle,
  DepthToSpace: depthToSpace,
  Range: positional('its members are numbers in a row'),
  EyeLike: positional('its members stand on a diagonal'),
  Shape: sizesOnly,
  Size: sizesOnly,
  Constant: sizesOnly,
  ConstantOfShape: filled,
  RandomNormal: sizesOnly,
  RandomUniform: sizesOnly,
}
