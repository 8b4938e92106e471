/**
 * Writing by index. Members that are addressed by values can't go without renumbering; those that an index counts
 * through while the model runs are counted anew.
 */
import { intAttribute, type Node, type Value } from '../../graph/graph.js'
import type { Axis } from '../axis.js'
import { type AxisRule, fromFront, type RuleContext } from '../rule.js'

const scatterElements: AxisRule = {
  relate(context) {
    const data = context.input(0) ?? []
    const axis = fromFront(intAttribute(context.node, 'axis', 0), data.length)
    for (const [index, each] of data.entries()) {
      context.unify(each, context.output(0)?.[index])
      if (index === axis) {
        context.block(each, 'its members are addressed by index')
        context.unify(context.input(1)?.[index], context.input(2)?.[index])
        continue
      }
      for (const input of [1, 2]) {
        const other = context.input(input)?.[index]
        if (other?.size.equals(each.size)) context.unify(other, each)
        else if (other) context.block(each, 'only its first members are written')
      }
    }
  },
}

/** data, indices [..., n], updates [..., rest]: the first n axes of the data are addressed. */
const scatterND: AxisRule = {
  relate(context) {
    const data = context.input(0) ?? []
    const indices = context.input(1) ?? []
    const updates = context.input(2) ?? []
    const depth = indices.at(-1)?.size.value
    for (const [index, each] of data.entries()) context.unify(each, context.output(0)?.[index])
    if (depth === undefined) return context.blockAll('the depth of the index is not known')
    const counted = new Set<number | undefined>()
    for (const [index, each] of data.slice(0, depth).entries()) {
      const along = allMembersAlong(context, index, each)
      counted.add(along)
      if (along === undefined) blockKnown(context, each)
      else context.unify(each, updates[along])
    }
    for (const [index, each] of indices.slice(0, -1).entries())
      if (!counted.has(index)) context.unify(each, updates[index])
    for (const [index, each] of data.slice(depth).entries())
      context.unify(each, updates[indices.length - 1 + index])
  },
}

/**
 * The axis of an index along which its part `part` counts all members of an axis of the data, which is asked for
 * its size while the model runs: those that stay are counted anew.
 */
function allMembersAlong(context: RuleContext, part: number, axis: Axis): number | undefined {
  const index = context.node.inputs[1]
  const parts = index?.producer
  const rank = context.input(1)?.length ?? 0
  const stated = parts && fromFront(intAttribute(parts, 'axis', 0), rank)
  if (parts?.op !== 'Concat' || stated !== rank - 1) return undefined
  const path: Node[] = []
  for (let at = parts.inputs[part]?.producer; at; at = at.inputs[0]?.producer) {
    path.unshift(at)
    if (!['Unsqueeze', 'Expand', 'Reshape', 'Cast', 'Identity'].includes(at.op)) break
  }
  const [range, ...moves] = path
  const numbers = range?.inputs.map((each) => each && context.shapes.integers(each)?.elements[0])
  const [start, limit, step] = numbers ?? []
  const isAll = range?.op === 'Range' && start?.isZero && step?.isOne && limit?.equals(axis.size)
  const asked = [range?.inputs[1], ...moves.map(({ op, inputs }) => op === 'Expand' && inputs[1])]
  if (!isAll || asked.some((each) => each && !isMeasured(each))) return undefined
  // Of its axes those behind the counted one are told; an Expand adds axes before it.
  let behind = 0
  for (const { op, inputs, outputs } of moves) {
    const dims = outputs[0] && context.shapes.dims(outputs[0])
    if (!dims) return undefined
    if (op === 'Reshape') {
      const open = dims.flatMap((size, place) => (size.isOne ? [] : [place]))
      if (open.length !== 1) return undefined
      behind = dims.length - 1 - (open[0] as number)
    } else if (op === 'Unsqueeze') {
      const axes = inputs[1] && context.shapes.integers(inputs[1])?.elements
      if (!axes) return undefined
      for (const each of axes)
        if (dims.length - 1 - fromFront(each?.value ?? 0, dims.length) <= behind) behind++
    }
  }
  return rank - 1 - behind
}

/** Whether a value is made of sizes that are asked for while the model runs. */
const isMeasured = ({ producer }: Value, depth = 12): boolean =>
  producer?.op === 'Shape' ||
  (depth > 0 && (producer?.inputs ?? []).some((each) => each && isMeasured(each, depth - 1)))

const blockKnown = (context: RuleContext, axis: Axis): void => {
  if (axis.size.value !== undefined) context.block(axis, 'its members are addressed by index')
}

/** data, update, write positions: only the sequence axis is addressed. */
const tensorScatter: AxisRule = {
  relate(context) {
    const data = context.input(0) ?? []
    const axis = fromFront(intAttribute(context.node, 'axis', -2), data.length)
    for (const [index, each] of data.entries()) {
      context.unify(each, context.output(0)?.[index])
      if (index === axis) context.block(each, 'its members are addressed by index')
      else context.unify(each, context.input(1)?.[index])
    }
  },
}

export const scatterRules: Readonly<Record<string, AxisRule>> = {
  ScatterElements: scatterElements,
  Scatter: scatterElements,
  ScatterND: scatterND,
  TensorScatter: tensorScatter,
}
