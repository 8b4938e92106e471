/** Member by member with broadcasting; on small integers the arithmetic itself is done. */

import { intAttribute } from '../../graph/graph.js'
import { type DataType, findDataType } from '../../onnx/data-type.js'
import { elementCount } from '../../onnx/tensor.js'
import { isSmall, type KnownElements } from '../elements.js'
import type { ShapeContext, ShapeRule } from '../rule.js'
import { Size } from '../symbolic.js'

/** numpy's rule; of two different symbols neither is known to be 1, and the left one is taken. */
export function broadcast(shapes: readonly (readonly Size[])[]): readonly Size[] {
  const rank = Math.max(0, ...shapes.map((shape) => shape.length))
  return Array.from({ length: rank }, (_, axis) => {
    let result = Size.of(1)
    for (const shape of shapes) {
      const size = shape[axis - rank + shape.length]
      if (!size || size.isOne) continue
      if (result.isOne || (result.value === undefined && size.value !== undefined)) result = size
    }
    return result
  })
}

type Arithmetic = (
  operands: readonly (Size | undefined)[],
  context: ShapeContext,
) => Size | undefined

const both =
  (combine: (a: Size, b: Size) => Size | undefined): Arithmetic =>
  ([a, b]) =>
    a && b ? combine(a, b) : undefined

const numeric =
  (combine: (...values: number[]) => number): Arithmetic =>
  (operands) => {
    const values = operands.map((size) => size?.value)
    return values.every((value) => value !== undefined)
      ? Size.of(combine(...(values as number[])))
      : undefined
  }

/** Sizes are positive: a symbol is never a negative number, nor 0 where it is compared with one. */
const equal = both((a, b) => {
  const difference = a.sub(b).value
  if (difference !== undefined) return Size.of(difference === 0 ? 1 : 0)
  const constant = a.value ?? b.value
  return constant !== undefined && constant < 0 ? Size.of(0) : undefined
})

const divide: Arithmetic = ([a, b], context) => {
  if (!a || !b || b.isZero) return undefined
  const type = context.dataType(0)
  if (type === 'float32' || type === 'float64') {
    const [x, y] = [a.value, b.value]
    return x !== undefined && y !== undefined ? Size.of(x / y) : a.divideExact(b)
  }
  return a.floorDiv(b)
}

const compare =
  (test: (difference: number) => boolean): Arithmetic =>
  ([a, b]) => {
    const difference = a && b && a.sub(b).value
    return difference === undefined ? undefined : Size.of(test(difference) ? 1 : 0)
  }

const fold =
  (combine: (a: Size, b: Size) => Size): Arithmetic =>
  (operands) =>
    operands.every((size) => size)
      ? (operands as Size[]).reduce((left, right) => combine(left, right))
      : undefined

const arithmetic: Readonly<Record<string, Arithmetic>> = {
  Add: both((a, b) => a.add(b)),
  Sub: both((a, b) => a.sub(b)),
  Mul: both((a, b) => a.mul(b)),
  Div: divide,
  Mod: both((a, b) => (b.isZero ? undefined : a.mod(b))),
  Neg: ([a]) => a?.mul(Size.of(-1)),
  Abs: ([a]) => (a?.value === undefined ? a : Size.of(Math.abs(a.value))),
  Identity: ([a]) => a,
  Floor: numeric(Math.floor),
  Ceil: numeric(Math.ceil),
  Sqrt: numeric(Math.sqrt),
  Reciprocal: numeric((a) => 1 / a),
  Log: numeric(Math.log),
  Round: numeric(Math.round),
  Sign: numeric(Math.sign),
  Pow: numeric((a, b) => a ** b),
  Equal: equal,
  Less: compare((difference) => difference < 0),
  LessOrEqual: compare((difference) => difference <= 0),
  Greater: compare((difference) => difference > 0),
  GreaterOrEqual: compare((difference) => difference >= 0),
  Not: numeric((a) => (a ? 0 : 1)),
  And: numeric((a, b) => (a && b ? 1 : 0)),
  Or: numeric((a, b) => (a || b ? 1 : 0)),
  Max: fold(Size.max),
  Min: fold(Size.min),
  Where: ([condition, yes, no]) =>
    condition?.value === undefined
      ? yes && no && yes.equals(no)
        ? yes
        : undefined
      : condition.value
        ? yes
        : no,
}

/** Entry of a small tensor that broadcasts to `dims`, by row-major position there. */
export function entryAt(
  known: KnownElements,
  dims: readonly number[],
  position: number,
): Size | undefined {
  let rest = position
  let index = 0
  let stride = 1
  for (let axis = dims.length - 1; axis >= 0; axis--) {
    const size = dims[axis] as number
    const own = known.dims[axis - dims.length + known.dims.length]
    const coordinate = rest % size
    rest = Math.floor(rest / size)
    if (own === undefined) continue
    if (own > 1) index += coordinate * stride
    stride *= own
  }
  return known.elements[index]
}

/** The shape operands broadcast to, and their elements where all are small. */
function computeElements(
  context: ShapeContext,
  inputs: readonly number[],
  dims: readonly Size[],
): void {
  const combine = arithmetic[context.node.op]
  const shape = dims.map((size) => size.value ?? Number.POSITIVE_INFINITY)
  if (!combine || !isSmall(shape)) return
  const operands = inputs.map((index) => context.elements(index))
  if (!operands.some((operand) => operand)) return
  if (context.node.op !== 'Where' && operands.some((operand) => !operand)) return
  const elements = Array.from({ length: elementCount(shape) }, (_, position) =>
    combine(
      operands.map((operand) => operand && entryAt(operand, shape, position)),
      context,
    ),
  )
  if (elements.some((element) => element)) context.setElements(0, { dims: shape, elements })
}

type TypeChoice = 'first' | 'second' | 'bool' | DataType

const elementwise =
  (type: TypeChoice, chosen?: readonly number[]): ShapeRule =>
  (context) => {
    const inputs = chosen ?? [...context.node.inputs.keys()]
    const shapes = inputs.map((index) => context.dims(index))
    const result =
      type === 'first' ? context.dataType(0) : type === 'second' ? context.dataType(1) : type
    if (shapes.some((shape) => !shape)) return context.set(0, undefined, result)
    const dims = broadcast(shapes as Size[][])
    context.set(0, dims, result)
    computeElements(context, inputs, dims)
  }

const cast: ShapeRule = (context) => {
  const type = findDataType(intAttribute(context.node, 'to', 0))
  context.set(0, context.dims(0), type)
  const known = context.elements(0)
  if (!known) return
  const isInteger = type !== 'float32' && type !== 'float64' && type !== 'float16'
  const convert = (size: Size | undefined): Size | undefined => {
    if (size?.value === undefined) return type === 'bool' ? undefined : size
    if (type === 'bool') return Size.of(size.value === 0 ? 0 : 1)
    return isInteger ? Size.of(Math.trunc(size.value)) : size
  }
  context.setElements(0, { dims: known.dims, elements: known.elements.map(convert) })
}

const dropout: ShapeRule = (context) => {
  context.set(0, context.dims(0), context.dataType(0))
  context.set(1, context.dims(0), 'bool')
}

const quantise: ShapeRule = (context) => {
  const stated = findDataType(intAttribute(context.node, 'output_dtype', 0))
  context.set(0, context.dims(0), context.dataType(2) ?? stated ?? 'uint8')
}

const dynamicQuantise: ShapeRule = (context) => {
  context.set(0, context.dims(0), 'uint8')
  context.set(1, [], 'float32')
  context.set(2, [], 'uint8')
}

const names = (text: string): string[] => text.trim().split(/\s+/)

const ofKind = (text: string, rule: ShapeRule): Record<string, ShapeRule> =>
  Object.fromEntries(names(text).map((name) => [name, rule]))

export const elementwiseRules: Readonly<Record<string, ShapeRule>> = {
  ...ofKind(
    `Abs Acos Acosh Add And Asin Asinh Atan Atanh BitShift BitwiseAnd BitwiseNot BitwiseOr BitwiseXor
     Ceil Celu Cos Cosh Div Elu Erf Exp Floor Gelu HardSigmoid HardSwish Identity LeakyRelu Log Max
     Mean Min Mish Mod Mul Neg Not Or PRelu Pow Reciprocal Relu Round Selu Shrink Sigmoid Sign Sin
     Sinh Softplus Softsign Sqrt Sub Sum Swish Tan Tanh ThresholdedRelu Xor com.microsoft.BiasGelu
     com.microsoft.FastGelu`,
    elementwise('first'),
  ),
  ...ofKind(
    `Clip Trilu Softmax LogSoftmax Hardmax CumSum LpNormalization InstanceNormalization
     GroupNormalization RandomNormalLike RandomUniformLike Bernoulli LRN MeanVarianceNormalization
     TensorScatter ReverseSequence com.microsoft.Gelu
     com.microsoft.QuickGelu com.microsoft.GroupNorm`,
    elementwise('first', [0]),
  ),
  ...ofKind('Equal Greater GreaterOrEqual Less LessOrEqual', elementwise('bool')),
  ...ofKind('IsInf IsNaN', elementwise('bool', [0])),
  Where: elementwise('second'),
  Cast: cast,
  CastLike: elementwise('second', [0]),
  Dropout: dropout,
  QuantizeLinear: quantise,
  DequantizeLinear: (context) => context.set(0, context.dims(0), context.dataType(1)),
  DynamicQuantizeLinear: dynamicQuantise,
  'com.microsoft.QuantizeLinear': quantise,
  'com.microsoft.DequantizeLinear': (context) =>
    context.set(0, context.dims(0), context.dataType(1)),
}
