/**
 * Shapes of operators that optimisers and quantisers of ONNX Runtime write beside those with axis rules:
 * where a fused one isn't understood, what stands behind it still has a shape, and so its axes.
 * Operands and shapes are those of ONNX Runtime's ContribOperators.md.
 */
import { intAttribute, intsAttribute } from '../../graph/graph.js'
import type { ShapeContext, ShapeRule } from '../rule.js'
import { Size } from '../symbolic.js'
import { broadcast } from './elementwise.js'

const likeFirst: ShapeRule = (context) => context.set(0, context.dims(0), context.dataType(0))

/** Quantised operands lie three apart: the number, its scale, its zero point. */
const quantised =
  (...operands: readonly number[]): ShapeRule =>
  (context) => {
    const shapes = operands.map((index) => context.dims(index))
    if (shapes.every((shape) => shape))
      context.set(
        0,
        broadcast(shapes as (readonly Size[])[]),
        context.dataType(operands.at(-1) ?? 0),
      )
  }

/** Scale and zero point of the result, then each part with its own two. */
const quantisedConcat: ShapeRule = (context) => {
  const parts = Array.from({ length: (context.node.inputs.length - 2) / 3 }, (_, index) =>
    context.dims(2 + 3 * index),
  )
  const [first] = parts
  if (!first || !parts.every((part) => part?.length === first.length)) return
  const stated = intAttribute(context.node, 'axis', 0)
  const axis = stated < 0 ? stated + first.length : stated
  const total = parts.reduce((sum, part) => sum.add(part?.[axis] ?? Size.of(0)), Size.of(0))
  context.set(0, first.with(axis, total), context.dataType(2))
}

/** A, its two, B, its two, C, scale and zero point of the result. */
const quantisedGemm: ShapeRule = (context) => {
  const [a, b] = [context.dims(0), context.dims(3)]
  const flips = (name: string): boolean => intAttribute(context.node, name, 0) === 1
  context.set(0, a && b && [a[flips('transA') ? 1 : 0], b[flips('transB') ? 0 : 1]])
}

/** Rows of what stands before the last axis, and a width of their own. */
const rowsOf = (context: ShapeContext, width: Size | undefined): void => {
  const input = context.dims(0)
  context.set(0, input && [...input.slice(0, -1), width], context.dataType(0))
}

/** One weight for queries, keys and values laid end to end, in bytes or in numbers. */
const packedWeight =
  (type: (context: ShapeContext) => ReturnType<ShapeContext['dataType']>): ShapeRule =>
  (context) => {
    const sizes = intsAttribute(context.node, 'qkv_hidden_sizes')
    const columns = context.dims(1)?.[1]
    rowsOf(context, sizes?.[2] ? Size.of(sizes[2]) : columns?.divideExact(Size.of(3)))
    context.set(0, undefined, type(context))
  }

/** Queries, keys, values; the result is as wide as the values, or as the queries where these hold all. */
const separate: ShapeRule = (context) => {
  const value = context.dims(2)
  rowsOf(context, value?.length === 4 ? undefined : (value ?? context.dims(0))?.at(-1))
}

const half: ShapeRule = (context) =>
  rowsOf(context, context.dims(0)?.at(-1)?.divideExact(Size.of(2)))

export const contribRules: Readonly<Record<string, ShapeRule>> = {
  BitCast: likeFirst,
  CumProd: likeFirst,
  ...Object.fromEntries(
    `BiasAdd BiasSoftmax BitmaskDropout CausalConvWithState LongformerAttention QLinearLeakyRelu
     QLinearSigmoid QLinearSoftmax QOrderedGelu QOrderedLayerNormalization ScaledSiLU SkipGroupNorm
     SparseAttention PagedAttention`
      .split(/\s+/)
      .map((name) => [`com.microsoft.${name}`, likeFirst]),
  ),
  'com.microsoft.BiasSplitGelu': half,
  'com.microsoft.QLinearAdd': quantised(0, 3),
  'com.microsoft.QLinearMul': quantised(0, 3),
  'com.microsoft.QLinearWhere': quantised(0, 1, 4),
  'com.microsoft.QLinearConcat': quantisedConcat,
  'com.microsoft.QGemm': quantisedGemm,
  'com.microsoft.QAttention': packedWeight((context) => context.dataType(3)),
  'com.microsoft.PackedAttention': packedWeight((context) => context.dataType(0)),
  'com.microsoft.PackedMultiHeadAttention': separate,
  'com.microsoft.DecoderMaskedMultiHeadAttention': separate,
}
