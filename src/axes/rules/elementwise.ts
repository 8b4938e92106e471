/**
 * Operators that work member by member, with broadcasting: axes of equal size are the same axis,
 * a 1 stays out. Removing a member removes its results and touches no other.
 */
import { intAttribute, type Node } from '../../graph/graph.js'
import type { AxisRule, RuleContext } from '../rule.js'
import { fromFront } from '../rule.js'

/** Joins each axis of an input with the output's, aligned at the right. */
export function broadcastInto(context: RuleContext, input: number, output = 0): void {
  const from = context.input(input)
  const to = context.output(output)
  if (!from || !to) return
  for (const [index, axis] of from.entries()) {
    const target = to[to.length - from.length + index]
    if (!target || axis.size.isOne) continue
    if (axis.size.equals(target.size)) context.unify(axis, target)
    else if (axis.size.value !== undefined)
      context.block(axis, `meets an axis of size ${target.size}`)
    else if (target.size.value !== undefined)
      context.block(target, `meets an axis of size ${axis.size}`)
  }
}

/** All inputs (or those named) broadcast into all outputs. */
export const elementwise = (inputs?: readonly number[]): AxisRule => ({
  relate(context) {
    for (const output of context.node.outputs.keys())
      for (const input of inputs ?? context.node.inputs.keys())
        broadcastInto(context, input, output)
  },
})

/** One input, one output of the same shape; further inputs are scalars or don't matter. */
export const unary = elementwise([0])

/** (De)quantisation: scale and zero point are scalars, vectors along `axis`, or one per block of it. */
const quantise: AxisRule = {
  relate(context) {
    const data = context.input(0)
    broadcastInto(context, 0)
    if (!data) return
    const axis = fromFront(intAttribute(context.node, 'axis', 1), data.length)
    for (const index of [1, 2]) {
      const scale = context.input(index)
      if (!scale || scale.length === 0) continue
      if (scale.length === 1 && data.length !== 1) {
        if (!scale[0]?.size.isOne) context.unify(scale[0], data[axis])
        continue
      }
      relateBlocks(context, scale, data, axis)
    }
  },
}

/** Opset 21: scales of the data's rank, one per `block_size` members of `axis`. */
function relateBlocks(
  context: RuleContext,
  scale: ReturnType<RuleContext['input']> & {},
  data: ReturnType<RuleContext['input']> & {},
  axis: number,
): void {
  const block = intAttribute(context.node, 'block_size', 0)
  for (const [index, each] of scale.entries()) {
    if (index !== axis || block === 0) {
      if (!each.size.isOne) context.unify(each, data[index])
      continue
    }
    context.blocks(each, data[index], block)
  }
}

/** min and max of the whole tensor make the scale; they include 0, so a removed member must be one. */
const dynamicQuantise: AxisRule = { relate: (context) => broadcastInto(context, 0, 0) }

const names =
  `Abs Acos Acosh Add And Asin Asinh Atan Atanh BitCast BitShift BitwiseAnd BitwiseNot BitwiseOr
BitwiseXor Cast CastLike Ceil Celu Cos Cosh Div Elu Equal Erf Exp Floor Gelu Greater GreaterOrEqual
HardSigmoid HardSwish Identity IsInf IsNaN LeakyRelu Less LessOrEqual Log Max Mean Min Mish Mod Mul
Neg Not Or PRelu Pow Reciprocal Relu Round Selu Shrink Sigmoid Sign Sin Sinh Softplus Softsign Sqrt
Sub Sum Swish Tan Tanh ThresholdedRelu Where Xor`.split(/\s+/)

export const elementwiseRules: Readonly<Record<string, AxisRule>> = {
  ...Object.fromEntries(names.map((name) => [name, elementwise()])),
  Clip: unary,
  Dropout: unary,
  RandomNormalLike: unary,
  RandomUniformLike: unary,
  Bernoulli: unary,
  QuantizeLinear: quantise,
  DequantizeLinear: quantise,
  DynamicQuantizeLinear: dynamicQuantise,
  'com.microsoft.QuantizeLinear': quantise,
  'com.microsoft.DequantizeLinear': quantise,
  'com.microsoft.Gelu': unary,
  'com.microsoft.QuickGelu': unary,
  'com.microsoft.FastGelu': elementwise(),
  'com.microsoft.BiasGelu': elementwise(),
  'com.microsoft.BiasDropout': elementwise([0, 1, 2]),
  'com.microsoft.BiasAdd': elementwise(),
  'com.microsoft.ScaledSiLU': unary,
  // Quantised operands lie three apart: the number, its scale, its zero point.
  'com.microsoft.QLinearAdd': elementwise([0, 3]),
  'com.microsoft.QLinearMul': elementwise([0, 3]),
  'com.microsoft.QLinearWhere': elementwise([0, 1, 4]),
  'com.microsoft.QLinearSigmoid': unary,
  'com.microsoft.QLinearLeakyRelu': unary,
}

export const isElementwise = (node: Node): boolean => node.operatorName in elementwiseRules
