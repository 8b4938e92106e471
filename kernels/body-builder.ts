/**
 * Writes the body of a model-local function: operators as calls, whole numbers as constants.
 * Sizes are tensors of one element, so that the body works at any shape. Where an operator changed
 * over the versions of ONNX, the form of the model's own version is written.
 */
import { GraphEdit, type NodeSpec } from '../src/graph/edit.js'
import type { Attribute, Graph, Value } from '../src/graph/graph.js'
import { type DataType, dataTypeCode } from '../src/onnx/data-type.js'
import { float32Tensor, int64Tensor, type Tensor } from '../src/onnx/tensor.js'

/** From this version on all reductions take their axes as an input; ReduceSum always did. */
const AXES_AS_INPUT = 18

export const int = (value: number): Attribute => ({ kind: 'int', value: BigInt(value) })
export const ints = (values: readonly number[]): Attribute => ({
  kind: 'ints',
  value: values.map(BigInt),
})
export const float = (value: number): Attribute => ({ kind: 'float', value })

export const text = (value: string): Attribute => ({
  kind: 'string',
  value: new TextEncoder().encode(value),
})

/** A size: a number that is known now, or a tensor [1] of int64. */
export type Extent = number | Value

export class BodyBuilder {
  private readonly edit: GraphEdit
  private readonly constants = new Map<string, Value>()

  constructor(
    private readonly graph: Graph,
    label: string,
    private readonly opset: number,
  ) {
    this.edit = new GraphEdit(graph, label)
  }

  input(name: string, dataType: DataType): Value {
    return this.edit.addInput(name, dataType, undefined)
  }

  output(value: Value): void {
    this.graph.outputs.push(value)
  }

  op(
    op: string,
    inputs: readonly (Value | undefined)[],
    attributes: NonNullable<NodeSpec['attributes']> = {},
  ): Value {
    return this.edit.add(op, inputs, { attributes })
  }

  /** An operator with several outputs. */
  outputs(
    op: string,
    inputs: readonly (Value | undefined)[],
    count: number,
    attributes: NonNullable<NodeSpec['attributes']> = {},
  ): readonly Value[] {
    const names = Array.from({ length: count }, (_, index) => `${op}.${index}`)
    const node = this.edit.addNode({ op, inputs, outputs: names, attributes })
    return node.outputs.filter((each) => each !== undefined)
  }

  cast(value: Value, type: DataType): Value {
    return this.op('Cast', [value], { to: int(dataTypeCode(type)) })
  }

  /** Numbers as a constant; one number with no brackets is a scalar. */
  ints(values: number | readonly number[]): Value {
    const list = typeof values === 'number' ? [values] : values
    const dims = typeof values === 'number' ? [] : [list.length]
    return this.constant(`i${dims}:${list}`, () => int64Tensor(dims, list))
  }

  float(value: number): Value {
    return this.constant(`f${value}`, () => float32Tensor([], [value]))
  }

  tensor(tensor: Tensor): Value {
    return this.edit.constant(tensor)
  }

  /** Sizes of `value`: as many as it has dimensions. */
  sizes(value: Value, rank: number): Value[] {
    const shape = this.op('Shape', [value])
    return Array.from({ length: rank }, (_, axis) => this.op('Gather', [shape, this.ints([axis])]))
  }

  size(extent: Extent): Value {
    return typeof extent === 'number' ? this.ints([extent]) : extent
  }

  /** Whole-number arithmetic; the operands are not negative, so division rounds down. */
  add(a: Extent, b: Extent): Value {
    return this.op('Add', [this.size(a), this.size(b)])
  }

  subtract(a: Extent, b: Extent): Value {
    return this.op('Sub', [this.size(a), this.size(b)])
  }

  multiply(a: Extent, b: Extent): Value {
    return this.op('Mul', [this.size(a), this.size(b)])
  }

  divide(a: Extent, b: Extent): Value {
    return this.op('Div', [this.size(a), this.size(b)])
  }

  divideUp(a: Extent, b: number): Value {
    return this.divide(this.add(a, b - 1), b)
  }

  list(extents: readonly Extent[]): Value {
    if (extents.every((each) => typeof each === 'number')) return this.ints(extents)
    return this.op(
      'Concat',
      extents.map((each) => this.size(each)),
      { axis: int(0) },
    )
  }

  reshape(value: Value, dims: readonly Extent[]): Value {
    return this.op('Reshape', [value, this.list(dims)])
  }

  transpose(value: Value, permutation: readonly number[]): Value {
    return this.op('Transpose', [value], { perm: ints(permutation) })
  }

  /** 0, 1 … count−1. */
  range(count: Value): Value {
    const scalar = this.op('Squeeze', [count, this.ints([0])])
    return this.op('Range', [this.ints(0), scalar, this.ints(1)])
  }

  slice(value: Value, axis: number, from: Extent, to: Extent): Value {
    return this.op('Slice', [value, this.size(from), this.size(to), this.ints([axis])])
  }

  reduce(
    op: 'ReduceMax' | 'ReduceMin' | 'ReduceMean' | 'ReduceSum',
    value: Value,
    axis: number,
  ): Value {
    const isInput = op === 'ReduceSum' || this.opset >= AXES_AS_INPUT
    return isInput
      ? this.op(op, [value, this.ints([axis])], { keepdims: int(1) })
      : this.op(op, [value], { axes: ints([axis]), keepdims: int(1) })
  }

  private constant(key: string, make: () => Parameters<GraphEdit['constant']>[0]): Value {
    const known = this.constants.get(key)
    if (known) return known
    const value = this.edit.constant(make())
    this.constants.set(key, value)
    return value
  }
}
