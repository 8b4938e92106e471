/**
 * Nodes whose axes are an attribute in older opsets and an input in newer ones, added as the model's
 * opset spells them.
 */
import { int64Tensor } from '../onnx/tensor.js'
import type { GraphEdit } from './edit.js'
import type { Attribute, Node, Value } from './graph.js'

/** The opset from which axes are an input. */
const axesAreInput = { ReduceSum: 13, ReduceMax: 18, Unsqueeze: 13 } as const

const opsetOf = (edit: GraphEdit): number => edit.graph.model.opsets.get('') ?? 13

const ints = (value: readonly number[]): Attribute => ({ kind: 'ints', value: value.map(BigInt) })

function addWithAxes(
  edit: GraphEdit,
  op: keyof typeof axesAreInput,
  value: Value,
  axes: readonly number[],
  attributes: Readonly<Record<string, Attribute>> = {},
  before?: Node | undefined,
): Value {
  return opsetOf(edit) >= axesAreInput[op]
    ? edit.add(op, [value, edit.constant(int64Tensor([axes.length], axes))], { attributes, before })
    : edit.add(op, [value], { attributes: { ...attributes, axes: ints(axes) }, before })
}

/** Sum or maximum along `axes`. */
export function addReduce(
  edit: GraphEdit,
  op: 'ReduceSum' | 'ReduceMax',
  value: Value,
  axes: readonly number[],
  options: { readonly keepDims: boolean; readonly before?: Node } = { keepDims: true },
): Value {
  const keepdims: Attribute = { kind: 'int', value: options.keepDims ? 1n : 0n }
  return addWithAxes(edit, op, value, axes, { keepdims }, options.before)
}

export const addUnsqueeze = (
  edit: GraphEdit,
  value: Value,
  axes: readonly number[],
  before?: Node,
): Value => addWithAxes(edit, 'Unsqueeze', value, axes, {}, before)

/** Parts of the sizes given along an axis. */
export function addSplit(
  edit: GraphEdit,
  value: Value,
  axis: number,
  sizes: readonly number[],
): Value[] {
  if (sizes.length === 1) return [value]
  const isInput = opsetOf(edit) >= 13
  const node = edit.addNode({
    op: 'Split',
    inputs: isInput ? [value, edit.constant(int64Tensor([sizes.length], sizes))] : [value],
    outputs: sizes.map(() => `${edit.label}/part`),
    attributes: {
      axis: { kind: 'int', value: BigInt(axis) },
      ...(isInput ? {} : { split: ints(sizes) }),
    },
  })
  return node.outputs.filter((each) => each !== undefined)
}
