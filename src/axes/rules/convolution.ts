/**
 * Convolutions and pooling. Channels in are contracted, channels out are columns, space is local:
 * its members see their neighbours. Groups of channels are a factor of both; with one channel per group
 * (depthwise) channels pass through.
 */
import { intAttribute, intsAttribute } from '../../graph/graph.js'
import { Size } from '../../shape/symbolic.js'
import type { Axis } from '../axis.js'
import type { AxisRule, RuleContext } from '../rule.js'
import { rewriteShapeOperand } from './layout.js'

interface Slots {
  readonly data: number
  readonly weight: number
  /** Vectors along the channels out. */
  readonly vectors: readonly number[]
}

function relateConvolution(context: RuleContext, slots: Slots): void {
  const x = context.input(slots.data) ?? []
  const w = context.input(slots.weight) ?? []
  const y = context.output(0) ?? []
  const group = intAttribute(context.node, 'group', 1)
  const channels = x[1]
  const outChannels = y[1]
  if (!channels || !outChannels || !w[0] || !w[1]) return
  context.unify(x[0], y[0])
  context.mark(outChannels, 'projected')
  for (const index of slots.vectors) {
    const vector = context.input(index)?.[0]
    if (vector && !vector.size.isOne) context.unify(vector, outChannels)
  }
  if (group === 1) {
    context.contract([
      { input: slots.data, axis: 1 },
      { input: slots.weight, axis: 1 },
    ])
    context.unify(w[0], outChannels)
  } else if (channels.size.value === group) relateDepthwise(context, channels, w[0], outChannels)
  else relateGroups(context, slots, group, [channels, w[0], w[1], outChannels])
  relateSpace(context, x.slice(2), y.slice(2), isPointwise(context, w))
}

/** Whether each position is read alone: a kernel of one, without steps or padding. */
function isPointwise({ node }: RuleContext, weight: readonly Axis[]): boolean {
  const isAll = (name: string, value: number): boolean =>
    (intsAttribute(node, name) ?? []).every((each) => each === value)
  return weight.slice(2).every(({ size }) => size.isOne) && isAll('strides', 1) && isAll('pads', 0)
}

/** Channels out are [channels, multiplier]; a channel and its filters go together. */
function relateDepthwise(context: RuleContext, channels: Axis, filters: Axis, out: Axis): void {
  context.unify(filters, out)
  const multiplier = out.size.divideExact(channels.size)
  if (!multiplier) return context.block(channels, 'has no whole number of filters each')
  context.unifyProducts([out], [channels, context.newAxis(multiplier)])
}

/**
 * Channels in are [group, in], channels out [group, out], and each group sums over its own: members
 * `in` and `out` go from all groups alike, and a group goes with what it reads and writes.
 */
function relateGroups(
  context: RuleContext,
  slots: Slots,
  group: number,
  [channels, filters, inputs, out]: readonly [Axis, Axis, Axis, Axis],
): void {
  const perGroup = out.size.divideExact(Size.of(group))
  if (!perGroup || !channels.size.equals(inputs.size.mul(Size.of(group)))) {
    for (const axis of [channels, filters, inputs, out])
      context.block(axis, `has no whole number of channels in ${group} groups`)
    return
  }
  const groups = context.newAxis(Size.of(group))
  const columns = context.newAxis(perGroup)
  context.mark(columns, 'projected')
  context.unifyProducts([channels], [groups, inputs])
  context.unifyProducts([filters], [groups, columns])
  context.unifyProducts([out], [groups, columns])
  context.contract([{ input: slots.data, axis: 1 }])
  context.record({ groups })
}

function relateSpace(
  context: RuleContext,
  from: readonly Axis[],
  to: readonly Axis[],
  isPassed = false,
): void {
  for (const [index, axis] of from.entries()) {
    if (isPassed) {
      context.unify(axis, to[index])
      continue
    }
    context.block(axis, 'neighbours see each other')
    context.block(to[index], 'neighbours see each other')
  }
}

const convolution = (slots: Slots): AxisRule => ({
  relate: (context) => relateConvolution(context, slots),
  rewrite(context) {
    const channels = context.input(slots.data)?.[1]
    const group = intAttribute(context.node, 'group', 1)
    const isDepthwise = group > 1 && channels?.size.value === group
    const groups = isDepthwise ? channels : context.recorded()?.groups
    const left = groups && context.sizeOf(groups).value
    if (left !== undefined) context.setInt('group', left)
  },
})

/** Weight is [channels in, channels out / group, …]. */
const transposed: AxisRule = {
  relate(context) {
    const x = context.input(0) ?? []
    const w = context.input(1) ?? []
    const y = context.output(0) ?? []
    context.unify(x[0], y[0])
    if (intAttribute(context.node, 'group', 1) === 1) {
      context.contract([
        { input: 0, axis: 1 },
        { input: 1, axis: 0 },
      ])
      context.unify(w[1], y[1])
      context.unify(context.input(2)?.[0], y[1])
      context.mark(y[1], 'projected')
    } else {
      for (const axis of [x[1], w[0], w[1], y[1], context.input(2)?.[0]])
        context.block(axis, 'a transposed convolution runs in groups')
    }
    relateSpace(context, x.slice(2), y.slice(2))
  },
}

/** Channels pass, space is local; global pooling leaves ones. */
const pool: AxisRule = {
  relate(context) {
    const x = context.input(0) ?? []
    const y = context.output(0) ?? []
    context.unify(x[0], y[0])
    context.unify(x[1], y[1])
    relateSpace(context, x.slice(2), y.slice(2))
  },
}

/** Axes whose size stays pass; the others are interpolated. */
const resize: AxisRule = {
  relate(context) {
    const to = context.output(0) ?? []
    for (const [index, axis] of (context.input(0) ?? []).entries())
      if (to[index] && axis.size.equals(to[index].size)) context.unify(axis, to[index])
      else {
        context.block(axis, 'is resized')
        context.block(to[index], 'is resized')
      }
  },
  rewrite(context) {
    // Sizes, where they are stated rather than scales.
    if (context.valueOf(3)) rewriteShapeOperand(context, 3)
  },
}

export const convolutionRules: Readonly<Record<string, AxisRule>> = {
  Conv: convolution({ data: 0, weight: 1, vectors: [2] }),
  ConvInteger: convolution({ data: 0, weight: 1, vectors: [3] }),
  QLinearConv: convolution({ data: 0, weight: 3, vectors: [4, 5, 8] }),
  ConvTranspose: transposed,
  AveragePool: pool,
  MaxPool: pool,
  LpPool: pool,
  GlobalAveragePool: pool,
  GlobalMaxPool: pool,
  Resize: resize,
  'com.microsoft.FusedConv': convolution({ data: 0, weight: 1, vectors: [2] }),
}
