/** Functions of one input, member by member: the gradient is g times the derivative. */
import { floatAttribute, stringAttribute, type Value } from '../../graph/graph.js'
import { dataTypeCode } from '../../onnx/data-type.js'
import { largestHalf } from '../../onnx/half-precision.js'
import { isSaturation } from '../../rewrite/saturate.js'
import type { GradientContext, GradientRule } from '../gradient-rule.js'

/** g·derivative. */
const derivative = (make: (c: GradientContext, x: Value, y: Value) => Value): GradientRule => ({
  backward: (c) => [c.op('Mul', [c.gradient(0), make(c, c.input(0), c.output(0))])],
})

/** What flows on without a change. */
const same: GradientRule = { backward: (c) => [c.gradient(0)] }

/** Steps: flat wherever they have a derivative. */
const flat: GradientRule = { backward: () => [] }

const cast: GradientRule = {
  backward(c) {
    const type = c.shapes.dataType(c.input(0)) ?? 'float32'
    return [c.op('Cast', [c.gradient(0)], { to: dataTypeCode(type) })]
  },
}

/** 1 − y². */
const oneMinusSquare = (c: GradientContext, y: Value): Value =>
  c.op('Sub', [c.scalar(1, y), c.op('Mul', [y, y])])

/** s·(1 − s). */
const slopeOfSigmoid = (c: GradientContext, s: Value): Value =>
  c.op('Mul', [s, c.op('Sub', [c.scalar(1, s), s])])

/** Where `x` is above a bound, 1; elsewhere what `below` makes. */
const piecewise = (c: GradientContext, x: Value, bound: number, below: () => Value): Value =>
  c.op('Where', [c.op('Greater', [x, c.scalar(bound, x)]), c.scalar(1, x), below()])

/** d/dx x·Φ(x) = Φ(x) + x·φ(x); Φ by Erf (Hendrycks & Gimpel 2016). */
function geluSlope(c: GradientContext, x: Value): Value {
  const half = c.scalar(0.5, x)
  const erf = c.op('Erf', [c.op('Mul', [x, c.scalar(Math.SQRT1_2, x)])])
  const cumulative = c.op('Add', [half, c.op('Mul', [half, erf])])
  const squares = c.op('Mul', [c.op('Mul', [x, x]), c.op('Neg', [half])])
  const density = c.op('Mul', [c.op('Exp', [squares]), c.scalar(1 / Math.sqrt(2 * Math.PI), x)])
  return c.op('Add', [cumulative, c.op('Mul', [x, density])])
}

/** The tanh form: u = √(2/π)·(x + 0.044715·x³), ½(1 + tanh u) + ½·x·(1 − tanh² u)·u′. */
function tanhGeluSlope(c: GradientContext, x: Value): Value {
  const scale = Math.sqrt(2 / Math.PI)
  const square = c.op('Mul', [x, x])
  const cubic = c.op('Mul', [square, c.scalar(0.044715 * scale, x)])
  const inner = c.op('Mul', [x, c.op('Add', [cubic, c.scalar(scale, x)])])
  const tanh = c.op('Tanh', [inner])
  const half = c.scalar(0.5, x)
  const level = c.op('Add', [half, c.op('Mul', [half, tanh])])
  const rise = c.op('Add', [
    c.op('Mul', [square, c.scalar(3 * 0.044715 * scale, x)]),
    c.scalar(scale, x),
  ])
  const steep = c.op('Mul', [oneMinusSquare(c, tanh), rise])
  return c.op('Add', [level, c.op('Mul', [c.op('Mul', [x, half]), steep])])
}

/** d/dx x·σ(ax) = σ + a·x·σ(1 − σ). */
function swishSlope(c: GradientContext, x: Value, alpha: number): Value {
  const s = c.op('Sigmoid', [alpha === 1 ? x : c.op('Mul', [x, c.scalar(alpha, x)])])
  const bend = c.op('Mul', [c.op('Mul', [x, c.scalar(alpha, x)]), slopeOfSigmoid(c, s)])
  return c.op('Add', [s, bend])
}

const gelu = derivative((c, x) =>
  stringAttribute(c.node, 'approximate') === 'tanh' ? tanhGeluSlope(c, x) : geluSlope(c, x),
)

/** Fused with a bias: of the sum's slope, each gets its own. */
const biased = (slope: (c: GradientContext, x: Value) => Value): GradientRule => ({
  broadcasts: true,
  backward(c) {
    const bias = c.node.inputs[1]
    const sum = bias ? c.op('Add', [c.input(0), bias]) : c.input(0)
    const through = c.op('Mul', [c.gradient(0), slope(c, sum)])
    return [through, bias && through]
  },
})

/**
 * At the ends of half precision numbers are 32 apart: from an end it is nothing, or more than 1.
 * The value before isn't kept.
 */
const slopeOfSaturation = (c: GradientContext, y: Value): Value =>
  c.op('Min', [c.op('Sub', [c.scalar(largestHalf, y), c.op('Abs', [y])]), c.scalar(1, y)])

/** Inside the bounds the value is unchanged. */
const clip: GradientRule = {
  backward(c) {
    const g = c.gradient(0) as Value
    if (isSaturation(c.node) && c.shapes.dataType(c.output(0)) === 'float16')
      return [c.op('Mul', [g, slopeOfSaturation(c, c.output(0))])]
    const isInside = c.op('Equal', [c.input(0), c.output(0)])
    return [c.op('Where', [isInside, g, c.scalar(0, c.input(0))])]
  },
}

export const activationRules: Readonly<Record<string, GradientRule>> = {
  Identity: same,
  Dropout: same,
  Cast: cast,
  CastLike: cast,
  Sign: flat,
  Floor: flat,
  Ceil: flat,
  Round: flat,
  Neg: { backward: (c) => [c.op('Neg', [c.gradient(0)])] },
  Abs: derivative((c, x) => c.op('Sign', [x])),
  Exp: derivative((_, __, y) => y),
  Log: { backward: (c) => [c.op('Div', [c.gradient(0), c.input(0)])] },
  Sqrt: derivative((c, _, y) => c.op('Div', [c.scalar(0.5, y), y])),
  Reciprocal: derivative((c, _, y) => c.op('Neg', [c.op('Mul', [y, y])])),
  Sin: derivative((c, x) => c.op('Cos', [x])),
  Cos: derivative((c, x) => c.op('Neg', [c.op('Sin', [x])])),
  Tanh: derivative((c, _, y) => oneMinusSquare(c, y)),
  Sigmoid: derivative((c, _, y) => slopeOfSigmoid(c, y)),
  Softplus: derivative((c, x) => c.op('Sigmoid', [x])),
  Softsign: derivative((c, x) => {
    const wide = c.op('Add', [c.scalar(1, x), c.op('Abs', [x])])
    return c.op('Reciprocal', [c.op('Mul', [wide, wide])])
  }),
  Relu: derivative((c, x) => piecewise(c, x, 0, () => c.scalar(0, x))),
  LeakyRelu: derivative((c, x) =>
    piecewise(c, x, 0, () => c.scalar(floatAttribute(c.node, 'alpha', 0.01), x)),
  ),
  ThresholdedRelu: derivative((c, x) =>
    piecewise(c, x, floatAttribute(c.node, 'alpha', 1), () => c.scalar(0, x)),
  ),
  // α(eˣ − 1) has the slope y + α.
  Elu: derivative((c, x, y) =>
    piecewise(c, x, 0, () => c.op('Add', [y, c.scalar(floatAttribute(c.node, 'alpha', 1), y)])),
  ),
  HardSigmoid: derivative((c, _, y) => {
    const isInside = c.op('And', [
      c.op('Greater', [y, c.scalar(0, y)]),
      c.op('Less', [y, c.scalar(1, y)]),
    ])
    const slope = c.scalar(floatAttribute(c.node, 'alpha', 0.2), y)
    return c.op('Where', [isInside, slope, c.scalar(0, y)])
  }),
  // x·clip(x/6 + ½): 0, then x/3 + ½, then 1.
  HardSwish: derivative((c, x) => {
    const rise = c.op('Add', [c.op('Div', [x, c.scalar(3, x)]), c.scalar(0.5, x)])
    const isLow = c.op('Less', [x, c.scalar(-3, x)])
    return c.op('Where', [isLow, c.scalar(0, x), piecewise(c, x, 3, () => rise)])
  }),
  // x·tanh(softplus x) = x·t: t + x·(1 − t²)·σ.
  Mish: derivative((c, x) => {
    const tanh = c.op('Tanh', [c.op('Softplus', [x])])
    const bend = c.op('Mul', [oneMinusSquare(c, tanh), c.op('Sigmoid', [x])])
    return c.op('Add', [tanh, c.op('Mul', [x, bend])])
  }),
  Erf: derivative((c, x) =>
    c.op('Mul', [
      c.op('Exp', [c.op('Neg', [c.op('Mul', [x, x])])]),
      c.scalar(2 / Math.sqrt(Math.PI), x),
    ]),
  ),
  Gelu: gelu,
  Swish: derivative((c, x) => swishSlope(c, x, floatAttribute(c.node, 'alpha', 1))),
  Clip: clip,
  'com.microsoft.Gelu': derivative(geluSlope),
  'com.microsoft.QuickGelu': derivative((c, x) =>
    swishSlope(c, x, floatAttribute(c.node, 'alpha', 1.702)),
  ),
  'com.microsoft.BiasGelu': biased(geluSlope),
  'com.microsoft.FastGelu': biased(tanhGeluSlope),
}
