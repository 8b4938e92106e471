/**
 * Softmax and norms. With x̂ the normalised input, r the reciprocal deviation and h = g·scale, a norm's
 * gradient is r·(h − mean h − x̂·mean(h·x̂)); without the mean over h where no mean was taken off.
 */
import { fromFront } from '../../axes/rule.js'
import { floatAttribute, intAttribute, type Value } from '../../graph/graph.js'
import { knownSizes } from '../../shape/known-sizes.js'
import type { Size } from '../../shape/symbolic.js'
import type { GradientContext, GradientRule } from '../gradient-rule.js'

const meanOver = (c: GradientContext, value: Value, axes: readonly number[]): Value =>
  c.reduce('ReduceMean', value, axes)

/** y·(g − Σ g·y). */
const softmax: GradientRule = {
  backward(c) {
    const y = c.output(0)
    const g = c.gradient(0) as Value
    const rank = c.rank(y)
    const axis = fromFront(intAttribute(c.node, 'axis', -1), rank)
    const sum = axis === rank - 1 ? sumThroughProduct(c, y, g) : undefined
    if (sum) return [c.op('Mul', [y, c.op('Sub', [g, sum])])]
    const weighted = c.op('Mul', [g, y])
    const total = c.reduce('ReduceSum', weighted, [axis])
    return [c.op('Sub', [weighted, c.op('Mul', [y, total])])]
  },
}

/**
 * Σ g·y along the last axis where y weighs values, o = y·v, and g came from there, g = do·vᵀ: then it is Σ o·do, of as
 * many numbers as values have instead of as many as there are keys (Dao et al., FlashAttention, 2022, appendix B.2).
 */
function sumThroughProduct(c: GradientContext, y: Value, g: Value): Value | undefined {
  const own = productSum(c, y, g)
  if (own) return own
  // Rows of several heads may have been laid end to end for the product.
  const sizes = knownSizes(y, c.shapes)
  const reshaped = [...y.uses].find(({ node }) => node.op === 'Reshape')?.node.outputs[0]
  const isBack = g.producer?.op === 'Reshape' && g.producer.origin === c.edit.label
  const before = isBack ? g.producer?.inputs[0] : undefined
  if (!reshaped || !before || !sizes) return undefined
  if (c.shapes.dims(reshaped)?.at(-1)?.value !== sizes.at(-1)) return undefined
  const sum = productSum(c, reshaped, before)
  return sum && c.op('Reshape', [sum, c.ints(...sizes.slice(0, -1), 1)])
}

function productSum(c: GradientContext, y: Value, g: Value): Value | undefined {
  const back = g.producer
  if (back?.op !== 'MatMul' || back.origin !== c.edit.label) return undefined
  const [outgoing, turned] = back.inputs
  const product = [...y.uses].find(
    ({ node, index }) =>
      node.op === 'MatMul' &&
      index === 0 &&
      turned?.producer?.op === 'Transpose' &&
      turned.producer.inputs[0] === node.inputs[1],
  )?.node.outputs[0]
  if (!outgoing || !product) return undefined
  return c.reduce('ReduceSum', c.op('Mul', [product, outgoing]), [-1])
}

/** g − eʸ·Σ g. Where g is zero but for a few, those are added last, so that a full g is never made. */
const logSoftmax: GradientRule = {
  backward(c) {
    const y = c.output(0)
    const axis = fromFront(intAttribute(c.node, 'axis', -1), c.rank(y))
    const few = c.takeScattered(0, axis)
    if (few) {
      const total = c.reduce('ReduceSum', few.updates, [axis])
      const rest = c.op('Mul', [c.op('Exp', [y]), c.op('Neg', [total])])
      return [c.op('ScatterElements', [rest, few.places, few.updates], { axis, reduction: 'add' })]
    }
    const total = c.reduce('ReduceSum', c.gradient(0) as Value, [axis])
    return [c.op('Sub', [c.gradient(0), c.op('Mul', [c.op('Exp', [y]), total])])]
  },
}

interface Normalised {
  /** x̂, and the reciprocal of the deviation it was divided by. */
  readonly unit: Value
  readonly reciprocal: Value
}

function normalise(
  c: GradientContext,
  x: Value,
  axes: readonly number[],
  epsilon: number,
  isCentred: boolean,
): Normalised {
  const centred = isCentred ? c.op('Sub', [x, meanOver(c, x, axes)]) : x
  const variance = meanOver(c, c.op('Mul', [centred, centred]), axes)
  const deviation = c.op('Sqrt', [c.op('Add', [variance, c.scalar(epsilon, x)])])
  const reciprocal = c.op('Reciprocal', [deviation])
  return { unit: c.op('Mul', [centred, reciprocal]), reciprocal }
}

/** The gradient of the normalised input's source, from that of x̂. */
function throughNorm(
  c: GradientContext,
  h: Value,
  { unit, reciprocal }: Normalised,
  axes: readonly number[],
  isCentred: boolean,
): Value {
  const along = c.op('Mul', [unit, meanOver(c, c.op('Mul', [h, unit]), axes)])
  const rest = c.op('Sub', [h, along])
  const free = isCentred ? c.op('Sub', [rest, meanOver(c, h, axes)]) : rest
  return c.op('Mul', [reciprocal, free])
}

/** x [..., axis …], scale and bias along the axes. */
const layerNorm = (isCentred: boolean, epsilon: number): GradientRule => ({
  backward(c) {
    const x = c.input(0)
    const rank = c.rank(x)
    const first = fromFront(intAttribute(c.node, 'axis', -1), rank)
    const axes = Array.from({ length: rank - first }, (_, index) => first + index)
    const found = normalise(c, x, axes, floatAttribute(c.node, 'epsilon', epsilon), isCentred)
    return normGradients(c, c.gradient(0) as Value, found, axes, isCentred, {
      dims: c.shapes.dims(x),
      scale: 1,
      bias: 2,
    })
  },
})

function normGradients(
  c: GradientContext,
  g: Value,
  found: Normalised,
  axes: readonly number[],
  isCentred: boolean,
  slots: {
    readonly dims: readonly Size[] | undefined
    readonly scale: number
    readonly bias: number
  },
): (Value | undefined)[] {
  const results: (Value | undefined)[] = []
  const scale = c.node.inputs[slots.scale]
  const h = scale ? c.op('Mul', [g, scale]) : g
  results[0] = throughNorm(c, h, found, axes, isCentred)
  if (c.needs(slots.scale))
    results[slots.scale] = c.unbroadcast(
      c.op('Mul', [g, found.unit]),
      slots.dims,
      c.input(slots.scale),
    )
  if (c.needs(slots.bias)) results[slots.bias] = c.unbroadcast(g, slots.dims, c.input(slots.bias))
  return results
}

/** input + skip (+ bias), then the norm; output 3 is the sum itself. */
const skipNorm = (isCentred: boolean): GradientRule => ({
  backward(c) {
    const { node } = c
    const biasSlot = isCentred ? 4 : 3
    const bias = node.inputs[biasSlot]
    const pair = c.op('Add', [c.input(0), c.input(1)])
    const sum = bias ? c.op('Add', [pair, bias]) : pair
    const rank = c.rank(c.input(0))
    const axes = [rank - 1]
    const dims = c.shapes.dims(c.input(0))
    const results: (Value | undefined)[] = []
    const g = c.gradient(0)
    let through = c.gradient(3)
    if (g) {
      const epsilon = floatAttribute(node, 'epsilon', isCentred ? 1e-12 : 1e-5)
      const found = normalise(c, sum, axes, epsilon, isCentred)
      const slots = { dims, scale: 2, bias: isCentred ? 3 : -1 }
      results.push(...normGradients(c, g, found, axes, isCentred, slots))
      const own = results[0] as Value
      through = through ? c.op('Add', [through, own]) : own
    }
    results[0] = through
    if (through && c.needs(1)) results[1] = c.unbroadcast(through, dims, c.input(1))
    if (through && c.needs(biasSlot))
      results[biasSlot] = c.unbroadcast(through, dims, c.input(biasSlot))
    return results
  },
})

/** Along axis 1 as [C, 1, …]. */
function alongChannels(c: GradientContext, vector: Value): Value {
  const rank = c.rank(c.input(0))
  const ones = Array.from({ length: rank - 2 }, (_, axis) => axis + 1)
  return ones.length === 0 ? vector : c.op('Unsqueeze', [vector, c.ints(...ones)])
}

/** Statistics are constants: y = (x − mean)/√(var + ε)·scale + bias. */
const batchNorm: GradientRule = {
  backward(c) {
    const x = c.input(0)
    const g = c.gradient(0) as Value
    const [scale, mean, variance] = [1, 3, 4].map((slot) => alongChannels(c, c.input(slot)))
    const epsilon = c.scalar(floatAttribute(c.node, 'epsilon', 1e-5), x)
    const deviation = c.op('Sqrt', [c.op('Add', [variance, epsilon])])
    const others = [...Array(c.rank(x)).keys()].filter((axis) => axis !== 1)
    const perChannel = (value: Value): Value =>
      c.op('ReduceSum', [value, c.ints(...others)], { keepdims: 0 })
    const unit = (): Value => c.op('Div', [c.op('Sub', [x, mean]), deviation])
    return [
      c.needs(0) ? c.op('Mul', [g, c.op('Div', [scale, deviation])]) : undefined,
      c.needs(1) ? perChannel(c.op('Mul', [g, unit()])) : undefined,
      c.needs(2) ? perChannel(g) : undefined,
    ]
  },
}

/** A norm over space, per sample and channel. */
const instanceNorm: GradientRule = {
  backward(c) {
    const x = c.input(0)
    const g = c.gradient(0) as Value
    const rank = c.rank(x)
    const space = Array.from({ length: rank - 2 }, (_, axis) => axis + 2)
    const found = normalise(c, x, space, floatAttribute(c.node, 'epsilon', 1e-5), true)
    const h = c.op('Mul', [g, alongChannels(c, c.input(1))])
    const perChannel = (value: Value): Value =>
      c.op('ReduceSum', [value, c.ints(0, ...space)], { keepdims: 0 })
    return [
      throughNorm(c, h, found, space, true),
      c.needs(1) ? perChannel(c.op('Mul', [g, found.unit])) : undefined,
      c.needs(2) ? perChannel(g) : undefined,
    ]
  },
}

export const normalisationRules: Readonly<Record<string, GradientRule>> = {
  Softmax: softmax,
  LogSoftmax: logSoftmax,
  LayerNormalization: layerNorm(true, 1e-5),
  RMSNormalization: layerNorm(false, 1e-5),
  SimplifiedLayerNormalization: layerNorm(false, 1e-5),
  BatchNormalization: batchNorm,
  InstanceNormalization: instanceNorm,
  'com.microsoft.SimplifiedLayerNormalization': layerNorm(false, 1e-5),
  'com.microsoft.SkipLayerNormalization': skipNorm(true),
  'com.microsoft.SkipSimplifiedLayerNormalization': skipNorm(false),
}
