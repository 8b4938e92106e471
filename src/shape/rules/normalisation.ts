/** Shapes of reductions and norms. */
import { intAttribute, intsAttribute } from '../../graph/graph.js'
import type { ShapeContext, ShapeRule } from '../rule.js'
import { Size } from '../symbolic.js'

const fromFront = (axis: number, rank: number): number => (axis < 0 ? axis + rank : axis)

const reduce: ShapeRule = (context) => {
  const { node } = context
  const from = context.dims(0)
  const operand = context.elements(1)?.elements.map((size) => size?.value)
  if (!from) return context.set(0, reducedWhole(context), context.dataType(0))
  if (node.inputs[1] && !operand) return context.set(0, undefined, context.dataType(0))
  const stated = intsAttribute(node, 'axes') ?? (operand as number[] | undefined)
  const isAll = !stated || stated.length === 0
  if (isAll && intAttribute(node, 'noop_with_empty_axes', 0) === 1)
    return context.set(0, from, context.dataType(0))
  const axes = isAll ? [...from.keys()] : stated.map((axis) => fromFront(axis, from.length))
  const keeps = intAttribute(node, 'keepdims', 1) === 1
  const dims = from.flatMap((size, axis) =>
    axes.includes(axis) ? (keeps ? [Size.of(1)] : []) : [size],
  )
  context.set(0, dims, context.dataType(0))
  reduceElements(context, dims)
}

/** What is reduced over all of its axes is one number, however many they were. */
function reducedWhole({ node }: ShapeContext): Size[] | undefined {
  const isWhole = !node.inputs[1] && !intsAttribute(node, 'axes')
  const isNumber = intAttribute(node, 'keepdims', 1) === 0
  return isWhole && isNumber && intAttribute(node, 'noop_with_empty_axes', 0) === 0 ? [] : undefined
}

/** Totals of integer vectors: products of sizes. */
function reduceElements(context: ShapeContext, dims: readonly Size[]): void {
  const known = context.elements(0)
  if (known?.dims.length !== 1 || known.elements.some((size) => !size))
    return nameNumber(context, dims)
  const sizes = known.elements as readonly Size[]
  const fold: Readonly<Record<string, (a: Size, b: Size) => Size>> = {
    ReduceProd: (a, b) => a.mul(b),
    ReduceSum: (a, b) => a.add(b),
    ReduceMax: Size.max,
    ReduceMin: Size.min,
  }
  const combine = fold[context.node.op]
  if (combine && sizes.length > 0)
    context.setElements(0, { dims: dims.map(() => 1), elements: [sizes.reduce(combine)] })
}

/**
 * One integer that data decide is a number with a name of its own: exporters make sizes of the largest
 * length or the last number of a graph, and multiply heads by them.
 */
function nameNumber(context: ShapeContext, dims: readonly Size[]): void {
  const [output] = context.node.outputs
  const isOne = dims.length <= 1 && dims.every((size) => size.isOne)
  if (!output || !isOne || !['int64', 'int32'].includes(context.dataType(0) ?? '')) return
  context.setElements(0, { dims: dims.map(() => 1), elements: [Size.of(`${output.name}.number`)] })
}

const argument: ShapeRule = (context) => {
  const from = context.dims(0)
  if (!from) return context.set(0, undefined, 'int64')
  const axis = fromFront(intAttribute(context.node, 'axis', 0), from.length)
  const keeps = intAttribute(context.node, 'keepdims', 1) === 1
  context.set(0, keeps ? from.with(axis, Size.of(1)) : from.toSpliced(axis, 1), 'int64')
}

/** Outputs 1 and 2 are mean and inverse deviation, 1 along the normalised axes. */
const layerNormalization: ShapeRule = (context) => {
  const from = context.dims(0)
  context.set(0, from, context.dataType(0))
  if (!from) return
  const axis = fromFront(intAttribute(context.node, 'axis', -1), from.length)
  const statistics = from.map((size, index) => (index < axis ? size : Size.of(1)))
  for (const index of [1, 2]) context.set(index, statistics, 'float32')
}

const skipNorm: ShapeRule = (context) => {
  const from = context.dims(0)
  context.set(0, from, context.dataType(0))
  if (!from) return
  for (const index of [1, 2]) context.set(index, from.with(-1, Size.of(1)), 'float32')
  context.set(3, from, context.dataType(0))
}

const batchNormalization: ShapeRule = (context) => {
  context.set(0, context.dims(0), context.dataType(0))
  for (const index of [1, 2, 3, 4]) context.set(index, context.dims(1), context.dataType(1))
}

const embedLayerNormalization: ShapeRule = (context) => {
  const ids = context.dims(0)
  const hidden = context.dims(2)?.[1]
  if (!ids) return
  const dims = [...ids, hidden]
  context.set(0, dims, context.dataType(2))
  context.set(1, [ids[0]], 'int32')
  context.set(2, dims, context.dataType(2))
}

const reductions = `ReduceMean ReduceSum ReduceMax ReduceMin ReduceProd ReduceL1 ReduceL2
ReduceLogSum ReduceLogSumExp ReduceSumSquare`.split(/\s+/)

export const normalisationRules: Readonly<Record<string, ShapeRule>> = {
  ...Object.fromEntries(reductions.map((name) => [name, reduce])),
  ArgMax: argument,
  ArgMin: argument,
  LayerNormalization: layerNormalization,
  RMSNormalization: layerNormalization,
  SimplifiedLayerNormalization: layerNormalization,
  BatchNormalization: batchNormalization,
  'com.microsoft.SimplifiedLayerNormalization': layerNormalization,
  'com.microsoft.SkipLayerNormalization': skipNorm,
  'com.microsoft.SkipSimplifiedLayerNormalization': skipNorm,
  'com.microsoft.EmbedLayerNormalization': embedLayerNormalization,
}
