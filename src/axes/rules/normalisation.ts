/**
 * Operators in which the members of an axis see each other: softmax, means, norms, sorting, running
 * sums. Removal is possible but changes the others, so the axis is entangled, with a note on how.
 */
import { intAttribute, intsAttribute, type Node, type Value } from '../../graph/graph.js'
import { tensorOf, toConstant } from '../../onnx/numbers.js'
import type { Axis } from '../axis.js'
import { type AxisRule, fromFront, type RuleContext } from '../rule.js'
import { broadcastInto, isElementwise } from './elementwise.js'

/** One axis (attribute `axis`) is normalised over; all pass. */
const along = (text: string, fallback = -1): AxisRule => ({
  relate(context) {
    broadcastInto(context, 0)
    const axes = context.input(0) ?? []
    const axis = fromFront(intAttribute(context.node, 'axis', fallback), axes.length)
    context.entangle(axes[axis], text)
  },
})

/** Softmax before opset 13 works on the flattened tail. */
const softmax: AxisRule = {
  relate(context) {
    broadcastInto(context, 0)
    const axes = context.input(0) ?? []
    const opset = context.node.graph.model.opsets.get('') ?? 13
    const stated = intAttribute(context.node, 'axis', opset < 13 ? 1 : -1)
    const axis = fromFront(stated, axes.length)
    const over = opset < 13 ? axes.slice(axis) : axes.slice(axis, axis + 1)
    for (const each of over) context.entangle(each, 'a softmax runs over it')
  },
}

/** Axes of a reduction: attribute, operand, or all. */
function reducedAxes(context: RuleContext): number[] {
  const { node, shapes } = context
  const rank = context.input(0)?.length ?? 0
  const operand = node.inputs[1]
  const stated =
    intsAttribute(node, 'axes') ??
    (operand && shapes.integers(operand)?.elements.map((size) => size?.value ?? 0))
  if (stated && stated.length > 0) return stated.map((axis) => fromFront(axis, rank))
  return intAttribute(node, 'noop_with_empty_axes', 0) === 1 ? [] : [...Array(rank).keys()]
}

/** Joins what is not reduced; returns the axes that are. */
function relateReduction(context: RuleContext, reduced: readonly number[]): Axis[] {
  const from = context.input(0) ?? []
  const to = context.output(0) ?? []
  const kept = from.filter((_, index) => !reduced.includes(index))
  const target = to.length === from.length ? to.filter((_, i) => !reduced.includes(i)) : to
  for (const [index, axis] of kept.entries()) context.unify(axis, target[index])
  return reduced.flatMap((index) => from[index] ?? [])
}

const reduce = (text: string): AxisRule => ({
  relate(context) {
    const reduced = relateReduction(context, reducedAxes(context))
    if (!context.isShift) for (const axis of reduced) context.entangle(axis, text)
  },
})

/**
 * A mean that no norm takes is a sum with a fixed divisor, as of heads that are laid over each other: a removed
 * member is a zero, and the others count as much as before.
 */
const reduceMean: AxisRule = {
  relate(context) {
    const reduced = reducedAxes(context)
    const axes = relateReduction(context, reduced)
    const [axis] = reduced
    const text = 'a mean is taken over it'
    const isSum =
      axis !== undefined &&
      reduced.length === 1 &&
      axes[0]?.size.value !== undefined &&
      !isOfNorm(context.node)
    if (isSum) context.mean({ input: 0, axis }, text)
    else if (!context.isShift) for (const each of axes) context.entangle(each, text)
  },
  rewrite(context) {
    const { node, edit, shapes } = context
    const axes = context.input(0) ?? []
    const operand = node.inputs[1]
    const stated =
      intsAttribute(node, 'axes') ??
      (operand && shapes.integers(operand)?.elements.map((size) => size?.value ?? 0))
    const [axis] = stated ?? []
    const [data] = node.inputs
    const what = axis === undefined ? undefined : axes[fromFront(axis, axes.length)]
    const kept = what && context.kept(what)
    const type = data && shapes.dataType(data)
    if (!data || !kept || !type || stated?.length !== 1 || !context.isContracted()) return
    const share = toConstant(tensorOf(type, [], [kept.length / (what.size.value ?? 1)]))
    const scaled = edit.add('Mul', [data, edit.constant(share, `${node.label}/share`)], {
      output: `${data.name}/share`,
      before: node,
    })
    edit.setInput(node, 0, scaled)
  },
}

/** Whether a mean is compared with what it is a mean of: x − mean x, x/√(mean x²). */
function isOfNorm(node: Node): boolean {
  const [source] = node.inputs
  if (!source) return false
  const behind = new Set<Value>([source])
  for (const value of behind)
    if (value.producer && isElementwise(value.producer) && behind.size < STEPS)
      for (const input of value.producer.inputs) if (input && !input.constant) behind.add(input)
  const reached = new Set<Value>(node.outputs.flatMap((each) => each ?? []))
  for (const value of reached)
    for (const { node: next } of value.uses) {
      if (next.inputs.some((each) => each && behind.has(each))) return true
      const passes = isElementwise(next) || sameMembers.has(next.op)
      if (passes && reached.size < STEPS)
        for (const output of next.outputs) if (output) reached.add(output)
    }
  return false
}

/** A norm is written in fewer operators. */
const STEPS = 24

const sameMembers = new Set(['Reshape', 'Unsqueeze', 'Squeeze', 'Expand', 'Tile'])

/** A sum over an axis is a product with ones: a removed member is a zero. */
const reduceSum: AxisRule = {
  relate(context) {
    const reduced = reducedAxes(context)
    relateReduction(context, reduced)
    for (const axis of reduced) context.contract([{ input: 0, axis }])
  },
}

const argument: AxisRule = {
  relate(context) {
    const rank = context.input(0)?.length ?? 0
    const axis = fromFront(intAttribute(context.node, 'axis', 0), rank)
    for (const each of relateReduction(context, [axis]))
      context.block(each, 'its members are numbered by ArgMax or ArgMin')
  },
}

const topK: AxisRule = {
  relate(context) {
    const from = context.input(0) ?? []
    const axis = fromFront(intAttribute(context.node, 'axis', -1), from.length)
    for (const index of [0, 1])
      for (const [position, each] of (context.output(index) ?? []).entries())
        if (position !== axis) context.unify(from[position], each)
    context.block(from[axis], 'its members are ranked and numbered by TopK')
  },
}

/** Norm over the axes from `axis` on; scale and bias lie along them. Mean and deviation keep a 1. */
const layerNormalization: AxisRule = {
  relate(context) {
    const axes = context.input(0) ?? []
    const axis = fromFront(intAttribute(context.node, 'axis', -1), axes.length)
    for (const output of context.node.outputs.keys())
      for (const [index, each] of (context.output(output) ?? []).entries())
        if (index < axis || output === 0) context.unify(axes[index], each)
    broadcastInto(context, 1)
    broadcastInto(context, 2)
    for (const each of axes.slice(axis)) context.entangle(each, 'a norm is taken over it')
  },
}

/** input, skip, then vectors along the last axis (scale, bias …); output 3 is the sum of both. */
const skipNorm: AxisRule = {
  relate(context) {
    for (const input of context.node.inputs.keys()) broadcastInto(context, input)
    broadcastInto(context, 0, 3)
    context.entangle(context.input(0)?.at(-1), 'a norm is taken over it')
  },
}

/** ids, segment ids, three tables [rows, hidden], scale, bias, mask, position ids. */
const embedLayerNormalization: AxisRule = {
  relate(context) {
    const hidden = context.output(0)?.at(-1)
    for (const index of [2, 3, 4]) {
      const table = context.input(index)
      context.block(table?.[0], 'its rows are addressed by ids')
      context.unify(table?.[1], hidden)
    }
    for (const index of [5, 6]) context.unify(context.input(index)?.[0], hidden)
    for (const [index, axis] of (context.input(0) ?? []).entries())
      context.unify(axis, context.output(0)?.[index])
    for (const [index, axis] of (context.output(2) ?? []).entries())
      context.unify(axis, context.output(0)?.[index])
    context.entangle(hidden, 'a norm is taken over it')
  },
}

/** Channels keep to themselves: running statistics, scale and bias lie along axis 1. */
const batchNormalization: AxisRule = {
  relate(context) {
    broadcastInto(context, 0)
    const channels = context.input(0)?.[1]
    for (const index of [1, 2, 3, 4]) context.unify(context.input(index)?.[0], channels)
    if (intAttribute(context.node, 'training_mode', 0) === 1)
      context.blockAll('statistics are updated while running')
  },
}

/** Statistics per sample and channel, over space. */
const instanceNormalization: AxisRule = {
  relate(context) {
    broadcastInto(context, 0)
    const axes = context.input(0) ?? []
    for (const index of [1, 2]) context.unify(context.input(index)?.[0], axes[1])
    for (const axis of axes.slice(2)) context.entangle(axis, 'a norm is taken over it')
  },
}

const groupNormalization: AxisRule = {
  relate(context) {
    broadcastInto(context, 0)
    const axes = context.input(0) ?? []
    for (const index of [1, 2]) {
      const vector = context.input(index)?.[0]
      if (vector && axes[1] && vector.size.equals(axes[1].size)) context.unify(vector, axes[1])
    }
    for (const axis of axes.slice(1)) context.entangle(axis, 'a norm is taken over groups of it')
  },
}

const running = (what: string): AxisRule => ({
  relate(context) {
    broadcastInto(context, 0)
    const axes = context.input(0) ?? []
    const operand = context.node.inputs[1]
    const axis = operand && context.shapes.integers(operand)?.elements[0]?.value
    const over = axis === undefined ? axes : [axes[fromFront(axis, axes.length)]]
    for (const each of over) context.entangle(each, `a running ${what} is taken over it`)
  },
})

export const normalisationRules: Readonly<Record<string, AxisRule>> = {
  Softmax: softmax,
  LogSoftmax: softmax,
  Hardmax: softmax,
  CumSum: running('sum'),
  CumProd: running('product'),
  'com.microsoft.QLinearSoftmax': softmax,
  LpNormalization: along('a norm is taken over it'),
  ReduceSum: reduceSum,
  ReduceMean: reduceMean,
  ReduceMax: reduce('a maximum is taken over it'),
  ReduceMin: reduce('a minimum is taken over it'),
  ReduceProd: reduce('a product is taken over it'),
  ReduceL1: reduce('a norm is taken over it'),
  ReduceL2: reduce('a norm is taken over it'),
  ReduceSumSquare: reduce('a sum of squares is taken over it'),
  ReduceLogSum: reduce('a sum is taken over it'),
  ReduceLogSumExp: reduce('a sum of exponentials is taken over it'),
  ArgMax: argument,
  ArgMin: argument,
  TopK: topK,
  LayerNormalization: layerNormalization,
  RMSNormalization: layerNormalization,
  SimplifiedLayerNormalization: layerNormalization,
  BatchNormalization: batchNormalization,
  InstanceNormalization: instanceNormalization,
  GroupNormalization: groupNormalization,
  'com.microsoft.SimplifiedLayerNormalization': layerNormalization,
  'com.microsoft.SkipLayerNormalization': skipNorm,
  'com.microsoft.SkipSimplifiedLayerNormalization': skipNorm,
  'com.microsoft.EmbedLayerNormalization': embedLayerNormalization,
}
