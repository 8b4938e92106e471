/**
 * Reading by index; scatter.ts writes. Rows that are addressed by values can't lose members without
 * renumbering; the other axes pass. A constant index that is a range is a slice.
 */
import { intAttribute } from '../../graph/graph.js'
import { Size } from '../../shape/symbolic.js'
import type { Axis } from '../axis.js'
import { type AxisRule, fromFront, type RewriteContext, type RuleContext } from '../rule.js'
import { segmentOf } from '../unify.js'

/** Members [first, first + count) when a constant index is such a range, counted from the front. */
function constantRange(
  context: Pick<RuleContext, 'node' | 'shapes'>,
  size: number | undefined,
): { first: number; count: number } | undefined {
  const operand = context.node.inputs[1]
  const elements = operand && context.shapes.integers(operand)?.elements
  if (!elements || elements.length === 0 || size === undefined) return undefined
  const members = elements.map((element) => element?.value)
  if (members.some((member) => member === undefined)) return undefined
  const numbers = (members as number[]).map((member) => (member < 0 ? member + size : member))
  const first = numbers[0] as number
  return numbers.every((member, index) => member === first + index)
    ? { first, count: numbers.length }
    : undefined
}

const gather: AxisRule = {
  relate(context) {
    const data = context.input(0) ?? []
    const indices = context.input(1) ?? []
    const out = context.output(0) ?? []
    const axis = fromFront(intAttribute(context.node, 'axis', 0), data.length)
    for (const [index, each] of data.entries())
      if (index < axis) context.unify(each, out[index])
      else if (index > axis) context.unify(each, out[index + indices.length - 1])
    for (const [index, each] of indices.entries()) context.unify(each, out[axis + index])
    const rows = data[axis]
    if (!rows) return
    if (isOnlyMeasured(context)) return
    const segment = rangeSegment(context, rows)
    if (segment && indices.length <= 1) {
      // A range of members is a slice of the axis; one member alone is picked out and stays.
      if (indices.length === 1) context.unify(segment, out[axis])
      else context.block(segment, 'this member is read by its number')
      return
    }
    // Also where the batch is a factor of them: the others are addressed all the same.
    context.block(rows, 'its members are addressed by index')
    if (context.isConstant(0))
      for (const each of data.slice(axis + 1)) context.mark(each, 'projected')
  },
  rewrite(context) {
    const data = context.input(0) ?? []
    if (isOnlyMeasured(context)) return
    rewriteRange(context, data[fromFront(intAttribute(context.node, 'axis', 0), data.length)])
  },
}

/** The result is read for its shape alone: which members it holds is all the same. */
const isOnlyMeasured = (context: Pick<RuleContext, 'node'>): boolean =>
  context.node.outputs.every(
    (output) =>
      !output?.isGraphOutput &&
      [...(output?.uses ?? [])].every(({ node }) => node.op === 'Shape' || node.op === 'Size'),
  )

/** The members that a constant range of indices picks. */
function rangeSegment(context: RuleContext, rows: Axis | undefined): Axis | undefined {
  const range = rows && constantRange(context, rows.size.value)
  return range && segmentOf(rows, Size.of(range.first), Size.of(range.count))
}

/** A constant range moves by the number of members that went before it. */
function rewriteRange(context: RewriteContext, rows: Axis | undefined): void {
  const kept = rows && context.kept(rows)
  const range = kept && constantRange(context, rows.size.value)
  if (!kept || !range) return
  const first = kept.findIndex((member) => member >= range.first)
  const count = kept.filter((m) => m >= range.first && m < range.first + range.count).length
  context.setIntegers(
    1,
    Array.from({ length: count }, (_, index) => Size.of(first + index)),
  )
}

/** Elements chosen one by one along `axis`: that axis is addressed, the others pass as far as equal. */
const gatherElements: AxisRule = {
  relate(context) {
    const data = context.input(0) ?? []
    const axis = fromFront(intAttribute(context.node, 'axis', 0), data.length)
    for (const [index, each] of (context.input(1) ?? []).entries()) {
      context.unify(each, context.output(0)?.[index])
      if (index !== axis && data[index]?.size.equals(each.size)) context.unify(data[index], each)
      else if (index !== axis) context.block(data[index], 'only its first members are read')
    }
    context.block(data[axis], 'its members are addressed by index')
  },
}

/** indices [..., n] address the first n axes (after the batch axes) of the data. */
const gatherND: AxisRule = {
  relate(context) {
    const data = context.input(0) ?? []
    const indices = context.input(1) ?? []
    const out = context.output(0) ?? []
    const batch = intAttribute(context.node, 'batch_dims', 0)
    const depth = indices.at(-1)?.size.value
    if (depth === undefined) return context.blockAll('the depth of the index is not known')
    const segment = depth === 1 && batch === 0 ? rangeSegment(context, data[0]) : undefined
    if (segment && indices.length === 2) context.unify(segment, out[0])
    else {
      for (const [index, each] of indices.slice(0, -1).entries()) context.unify(each, out[index])
      for (const each of data.slice(batch, batch + depth))
        context.block(each, 'its members are addressed by index')
    }
    for (const index of Array.from({ length: batch }).keys()) context.unify(data[index], out[index])
    for (const [index, each] of data.slice(batch + depth).entries())
      context.unify(each, out[indices.length - 1 + index])
  },
  rewrite(context) {
    rewriteRange(context, context.input(0)?.[0])
  },
}

/** data [rows, columns] with its last axis packed and in blocks, indices, scales, zero points. */
const gatherBlockQuantized: AxisRule = {
  relate(context) {
    const { node } = context
    const data = context.input(0) ?? []
    const indices = context.input(1) ?? []
    const out = context.output(0) ?? []
    const axis = fromFront(intAttribute(node, 'gather_axis', 0), data.length)
    const blocked = fromFront(intAttribute(node, 'quantize_axis', 1), data.length)
    const block = intAttribute(node, 'block_size', 128)
    const bits = intAttribute(node, 'bits', 4)
    for (const [index, each] of indices.entries()) context.unify(each, out[axis + index])
    for (const [index, each] of data.entries()) {
      const target = index < axis ? out[index] : out[index + indices.length - 1]
      if (index === axis) context.block(each, 'its members are addressed by index')
      else if (target && each.size.equals(target.size)) context.unify(each, target)
      else context.packed(each, target, 8 / bits)
      if (index !== axis) context.mark(target, 'projected')
      for (const input of [2, 3]) {
        const scale = context.input(input)?.[index]
        if (!scale) continue
        if (index === axis) context.unify(scale, each)
        else if (index === blocked) relateBlockAxis(context, input, scale, target, block, bits)
        else context.unify(scale, target)
      }
    }
  },
}

function relateBlockAxis(
  context: RuleContext,
  input: number,
  scale: Axis,
  target: Axis | undefined,
  block: number,
  bits: number,
): void {
  const blocks = Math.ceil((target?.size.value ?? 0) / block)
  if (scale.size.value === blocks) return context.blocks(scale, target, block)
  const perBlock = context.newAxis(Size.of(blocks))
  context.packed(scale, perBlock, input === 3 ? 8 / bits : 1)
  context.blocks(perBlock, target, block)
}

const oneHot: AxisRule = {
  relate(context) {
    const out = context.output(0) ?? []
    const axis = fromFront(intAttribute(context.node, 'axis', -1), out.length)
    const others = out.filter((_, index) => index !== axis)
    for (const [index, each] of (context.input(0) ?? []).entries())
      context.unify(each, others[index])
    context.block(out[axis], 'its members are numbered')
  },
}

/** Positions of what is not zero: every axis read is numbered. */
const nonZero: AxisRule = {
  relate(context) {
    for (const axis of context.input(0) ?? [])
      if (axis.size.value !== undefined) context.block(axis, 'its members are numbered')
  },
}

const compress: AxisRule = {
  relate(context) {
    const data = context.input(0) ?? []
    const stated = intAttribute(context.node, 'axis')
    if (stated === undefined) return context.blockAll('members are picked from the flattened data')
    const axis = fromFront(stated, data.length)
    for (const [index, each] of data.entries())
      if (index !== axis) context.unify(each, context.output(0)?.[index])
    context.block(data[axis], 'its members are picked by a condition')
  },
}

export const gatherRules: Readonly<Record<string, AxisRule>> = {
  Gather: gather,
  GatherElements: gatherElements,
  GatherND: gatherND,
  OneHot: oneHot,
  NonZero: nonZero,
  Compress: compress,
  'com.microsoft.GatherBlockQuantized': gatherBlockQuantized,
}
