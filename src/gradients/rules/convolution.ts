/**
 * Convolutions and pooling. To the data: the transposed convolution over the padded input, cut back.
 * To the weight: a convolution of the data by the gradient, samples playing the part of channels.
 */
import { intAttribute, intsAttribute, stringAttribute, type Value } from '../../graph/graph.js'
import type { GradientContext, GradientRule } from '../gradient-rule.js'
import { unsupported } from '../unsupported.js'

interface Window {
  readonly spatial: number
  readonly strides: readonly number[]
  readonly dilations: readonly number[]
  readonly begins: readonly number[]
  readonly ends: readonly number[]
}

function windowOf(c: GradientContext, spatial = c.rank(c.input(0)) - 2): Window {
  const { node } = c
  const each = (name: string): readonly number[] =>
    intsAttribute(node, name) ?? Array<number>(spatial).fill(1)
  const automatic = stringAttribute(node, 'auto_pad') ?? 'NOTSET'
  if (automatic.startsWith('SAME'))
    throw unsupported(node, `padding by auto_pad ${automatic}`, 'State its pads in numbers.')
  const pads = intsAttribute(node, 'pads') ?? Array<number>(2 * spatial).fill(0)
  return {
    spatial,
    strides: each('strides'),
    dilations: each('dilations'),
    begins: pads.slice(0, spatial),
    ends: pads.slice(spatial),
  }
}

const convolution: GradientRule = {
  backward(c) {
    const window = windowOf(c)
    const g = c.gradient(0) as Value
    const group = intAttribute(c.node, 'group', 1)
    const rest = Array.from({ length: window.spatial }, (_, axis) => axis + 2)
    return [
      c.needs(0) ? toData(c, g, c.input(1), window, group) : undefined,
      c.needs(1) ? toWeight(c, c.input(0), g, window, group) : undefined,
      c.needs(2) ? c.op('ReduceSum', [g, c.ints(0, ...rest)], { keepdims: 0 }) : undefined,
    ]
  },
}

/** The convolution's mirror: data and gradient change places. */
const transposedConvolution: GradientRule = {
  backward(c) {
    const window = windowOf(c)
    const { strides, dilations, begins, ends, spatial } = window
    const g = c.gradient(0) as Value
    const group = intAttribute(c.node, 'group', 1)
    const rest = Array.from({ length: spatial }, (_, axis) => axis + 2)
    const pads = [...begins, ...ends]
    return [
      c.needs(0) ? c.op('Conv', [g, c.input(1)], { strides, dilations, pads, group }) : undefined,
      c.needs(1) ? toWeight(c, g, c.input(0), window, group) : undefined,
      c.needs(2) ? c.op('ReduceSum', [g, c.ints(0, ...rest)], { keepdims: 0 }) : undefined,
    ]
  },
}

/** Spreads g over the padded input; rows that no window reached are zeros at the end. */
function toData(c: GradientContext, g: Value, weight: Value, window: Window, group: number): Value {
  const { strides, dilations, begins, ends, spatial } = window
  const whole = c.op('ConvTranspose', [g, weight], { strides, dilations, group })
  const axes = Array.from({ length: spatial }, (_, axis) => axis + 2)
  const slack = strides.map((stride, axis) => Math.max(stride - 1 - (ends[axis] ?? 0), 0))
  const pads = [0, 0, ...begins.map(() => 0), 0, 0, ...slack]
  const padded = slack.some((size) => size > 0) ? c.op('Pad', [whole, c.ints(...pads)]) : whole
  const sizes = c.op('Slice', [c.shapeOf(c.input(0)), c.ints(2), c.ints(2 + spatial)])
  const starts = c.ints(...begins)
  return c.op('Slice', [padded, starts, c.op('Add', [starts, sizes]), c.ints(...axes)])
}

/**
 * dW[m, c, k] = Σ x[b, c, y·stride + k·dilation − pad]·g[b, m, y]: channels become samples, samples
 * become channels, strides and dilations change places. Groups stay groups.
 */
function toWeight(
  c: GradientContext,
  wide: Value,
  narrow: Value,
  window: Window,
  group: number,
): Value {
  const { strides, dilations, begins, ends, spatial } = window
  const data = samplesAsChannels(c, wide, spatial, group, [2, 1])
  const filters = samplesAsChannels(c, narrow, spatial, group, [1, 2])
  const found = c.op('Conv', [data, filters], {
    strides: dilations,
    dilations: strides,
    pads: [...begins, ...ends],
    group,
  })
  const order = Array.from({ length: spatial }, (_, axis) => axis + 2)
  const turned = c.op('Transpose', [found], { perm: [1, 0, ...order] })
  const sizes = c.op('Slice', [c.shapeOf(c.input(1)), c.ints(2), c.ints(2 + spatial)])
  return c.op('Slice', [turned, c.ints(...order.map(() => 0)), sizes, c.ints(...order)])
}

/**
 * [B, group·n, …] as [n, group·B, …] (`order` [2, 1]) for the data, or [group·n, B, …] ([1, 2]) for
 * the filters.
 */
function samplesAsChannels(
  c: GradientContext,
  value: Value,
  spatial: number,
  group: number,
  order: readonly [number, number],
): Value {
  const rest = Array.from({ length: spatial }, (_, axis) => axis)
  const shape = c.op('Shape', [value])
  const space = c.op('Slice', [shape, c.ints(2), c.ints(2 + spatial)])
  const batch = c.op('Slice', [shape, c.ints(0), c.ints(1)])
  const channels = c.op('Slice', [shape, c.ints(1), c.ints(2)])
  const each = c.op('Div', [channels, c.ints(group)])
  const axes = rest.map((axis) => axis + 3)
  const split = c.op('Reshape', [value, concat(c, [batch, c.ints(group), each, space])])
  const isData = order[0] === 2
  const turned = c.op('Transpose', [split], {
    perm: isData ? [2, 1, 0, ...axes] : [1, 2, 0, ...axes],
  })
  const merged = isData
    ? [each, c.op('Mul', [batch, c.ints(group)]), space]
    : [channels, batch, space]
  return c.op('Reshape', [turned, concat(c, merged)])
}

const concat = (c: GradientContext, parts: readonly Value[]): Value =>
  c.op('Concat', parts, { axis: 0 })

/** A depthwise convolution with equal weights; what padding adds is not counted in the mean. */
const averagePool: GradientRule = {
  backward(c) {
    const { node } = c
    const kernel = intsAttribute(node, 'kernel_shape') ?? []
    const window = windowOf(c)
    const channels = c.shapes.dims(c.input(0))?.[1]?.value
    const isPadded = [...window.begins, ...window.ends].some((pad) => pad > 0)
    if (channels === undefined) throw unsupported(node, 'an unknown number of channels')
    if (isPadded && intAttribute(node, 'count_include_pad', 0) === 0)
      throw unsupported(node, 'padding that is not counted')
    const size = kernel.reduce((product, each) => product * each, 1)
    const ones = c.op('ConstantOfShape', [c.ints(channels, 1, ...kernel)])
    const equal = c.op('CastLike', [ones, c.input(0)])
    const share = c.op('Add', [equal, c.scalar(1 / size, c.input(0))])
    return [toData(c, c.gradient(0) as Value, share, window, channels)]
  },
}

/** Every position gets an equal share. */
const globalAveragePool: GradientRule = {
  backward(c) {
    const x = c.input(0)
    const shape = c.shapeOf(x)
    const space = c.op('Slice', [shape, c.ints(2), c.ints(c.rank(x))])
    const count = c.op('CastLike', [c.op('ReduceProd', [space], { keepdims: 0 }), x])
    return [c.op('Expand', [c.op('Div', [c.gradient(0), count]), shape])]
  },
}

/** The operator says where each maximum lay, as places in the whole tensor. */
const maxPool: GradientRule = {
  backward(c) {
    const x = c.input(0)
    const again = c.edit.addNode({
      op: 'MaxPool',
      inputs: [x],
      outputs: [`${c.node.label}/again`, `${c.node.label}/places`],
      attributes: Object.fromEntries(c.node.attributes),
    })
    const flat = c.ints(-1)
    const places = c.op('Reshape', [again.outputs[1], flat])
    const g = c.op('Reshape', [c.gradient(0), flat])
    const zeros = c.op('Reshape', [c.zerosLike(x), flat])
    const added = c.op('ScatterElements', [zeros, places, g], { reduction: 'add' })
    return [c.op('Reshape', [added, c.shapeOf(x)])]
  },
}

/** Columns gather what was added up: a depthwise convolution with one filter a place of the block. */
const col2Im: GradientRule = {
  backward(c) {
    const { node } = c
    const block = c.shapes.integers(c.input(2))?.elements.map((size) => size?.value)
    if (!block?.every((size) => size !== undefined)) throw unsupported(node, 'an unknown block')
    const { strides, dilations, begins, ends } = windowOf(c, block.length)
    const places = (block as number[]).reduce((product, size) => product * size, 1)
    const g = c.gradient(0) as Value
    const spatial = c.op('Shape', [g], { start: 2 })
    const alone = c.op('Concat', [c.ints(-1, 1), spatial], { axis: 0 })
    const unit = c.op('EyeLike', [
      c.op('Expand', [c.scalar(0, c.input(0)), c.ints(places, places)]),
    ])
    const filters = c.op('Reshape', [unit, c.ints(places, 1, ...(block as number[]))])
    const pads = [...begins, ...ends]
    const columns = c.op('Conv', [c.op('Reshape', [g, alone]), filters], {
      strides,
      dilations,
      pads,
    })
    return [c.op('Reshape', [columns, c.shapeOf(c.input(0))])]
  },
}

export const convolutionRules: Readonly<Record<string, GradientRule>> = {
  Conv: convolution,
  ConvTranspose: transposedConvolution,
  AveragePool: averagePool,
  MaxPool: maxPool,
  Col2Im: col2Im,
  GlobalAveragePool: globalAveragePool,
}
