/** Shapes of reductions and norms. */
import { intAttribute, intsAttribute } from '../../graph/graph.js'
import { elementCount } from '../../onnx/tensor.js'
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
  reduceElements(context, axes, dims)
}

/** What is reduced over all of its axes is one number, however many they were. */
function reducedWhole({ node }: ShapeContext): Size[] | undefined {
  const isWhole = !node.inputs[1] && !intsAttribute(node, 'axes')
  const isNumber = intAttribute(node, 'keepdims', 1) === 0
  return isWhole && isNumber && intAttribute(node, 'noop_with_empty_axes', 0) === 0 ? [] : undefined
}

/** Totals of small integers: products of sizes, the fullest row of a table. */
function reduceElements(
  context: ShapeContext,
  axes: readonly number[],
  dims: readonly Size[],
): void {
  const known = context.elements(0)
  if (!known || known.elements.some((size) => !size)) return nameNumber(context, dims)
  const fold: Readonly<Record<string, (a: Size, b: Size) => Size>> = {
    ReduceProd: (a, b) => a.mul(b),
    ReduceSum: (a, b) => a.add(b),
    ReduceMax: Size.max,
    ReduceMin: Size.min,
  }
  const combine = fold[context.node.op]
  const shape = dims.map((size) => size.value as number)
  const count = elementCount(shape)
  if (!combine || known.elements.length === 0 || count > known.elements.length) return
  const totals: (Size | undefined)[] = Array(count).fill(undefined)
  for (const [place, element] of (known.elements as readonly Size[]).entries()) {
    let rest = place
    let at = 0
    let stride = 1
    for (let axis = known.dims.length - 1; axis >= 0; axis--) {
      const size = known.dims[axis] as number
      if (!axes.includes(axis)) {
        at += (rest % size) * stride
        stride *= size
      }
      rest = Math.floor(rest / size)
    }
    const total = totals[at]
    totals[at] = total ? combine(total, element) : element
  }
  context.setElements(0, { dims: shape, elements: totals })
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
