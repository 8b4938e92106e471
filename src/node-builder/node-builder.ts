/**
 * Nodes written in short: operators with plain attributes, numbers and shapes as constants. What rules,
 * lowerings, losses and optimisers are written with.
 */
import { AttncError } from '../errors.js'
import type { GraphEdit } from '../graph/edit.js'
import { type Attribute, intAttribute, type Node, type Value } from '../graph/graph.js'
import { type DataType, dataTypeCode, findDataType } from '../onnx/data-type.js'
import { tensorOf, toConstant } from '../onnx/numbers.js'
import { int64Tensor } from '../onnx/tensor.js'
import type { ShapeInfo } from '../shape/infer.js'
import { sizesOf } from './sizes.js'

/** Attributes in short: whole numbers, lists of them, strings, or any other kind written out. */
export type Attributes = Readonly<Record<string, number | readonly number[] | string | Attribute>>

export class NodeBuilder {
  readonly opset: number

  constructor(
    readonly edit: GraphEdit,
    readonly shapes: ShapeInfo,
    /** New nodes stand before this one; at the end of the graph without it. */
    readonly before?: Node | undefined,
  ) {
    this.opset = edit.graph.model.opsets.get('') ?? 1
  }

  /** New nodes stand before all others. */
  atHead(): NodeBuilder {
    return new NodeBuilder(this.edit, this.shapes, [...this.edit.graph.nodes()][0])
  }

  /** A new node of one output. */
  op(op: string, inputs: readonly (Value | undefined)[], stated: Attributes = {}): Value {
    return this.edit.add(op, inputs, { attributes: asAttributes(stated), before: this.before })
  }

  /** A new node of several outputs. */
  outputs(
    op: string,
    inputs: readonly (Value | undefined)[],
    names: readonly string[],
    stated: Attributes = {},
  ): readonly Value[] {
    const attributes = asAttributes(stated)
    const node = this.edit.addNode({
      op,
      inputs,
      outputs: names,
      attributes,
      before: this.before,
    })
    return node.outputs as Value[]
  }

  /** A number of the same type as `like`. */
  scalar(number: number, like: Value): Value {
    return this.number(number, this.typeOf(like))
  }

  /** Of a new node, what it reads says: shapes were inferred before it was there. */
  typeOf(value: Value): DataType {
    const known = this.shapes.dataType(value)
    if (known) return known
    const { producer } = value
    if (!producer) return value.constant?.dataType ?? value.type?.dataType ?? 'float32'
    if (comparisons.has(producer.op)) return 'bool'
    const filled = producer.op === 'ConstantOfShape' && producer.attributes.get('value')
    if (filled && filled.kind === 'tensor') return filled.value.dataType
    const cast = producer.op === 'Cast' ? intAttribute(producer, 'to', 0) : 0
    const source = producer.inputs[producer.op === 'Where' ? 1 : 0]
    return findDataType(cast) ?? (source ? this.typeOf(source) : 'float32')
  }

  number(number: number, type: DataType): Value {
    return this.edit.constant(toConstant(tensorOf(type, [], [number])))
  }

  /** int64 [n]. */
  ints(...numbers: readonly number[]): Value {
    return this.edit.constant(int64Tensor([numbers.length], numbers))
  }

  cast(value: Value, type: DataType): Value {
    return this.op('Cast', [value], { to: dataTypeCode(type) })
  }

  /** Shape of a value as int64 [rank]: a constant where it is known, else made of the inputs' sizes. */
  shapeOf(value: Value): Value {
    const sizes = this.shapes.dims(value)
    return (sizes && sizesOf(this, sizes)) ?? this.op('Shape', [value])
  }

  /** int64 [1]: the size along one axis. */
  sizeAlong(value: Value, axis: number): Value {
    const size = this.shapes.dims(value)?.at(axis)
    const known = size && sizesOf(this, [size])
    return known ?? this.sizes(value, axis, axis + 1)
  }

  /** int64 [end − start]: the sizes of some axes; Shape itself tells them from opset 15 on. */
  sizes(value: Value, start: number, end: number): Value {
    return this.opset >= 15
      ? this.op('Shape', [value], { start, end })
      : this.op('Slice', [this.op('Shape', [value]), this.ints(start), this.ints(end)])
  }

  rank(value: Value): number {
    const dims = this.shapes.dims(value)
    if (dims) return dims.length
    const reader = this.before ?? [...value.uses][0]?.node
    throw new AttncError(
      'RANK_UNKNOWN',
      'model',
      `The gradient of "${reader?.label}" (${reader?.op}) needs the rank of "${value.name}", which is not known.`,
      { suggestions: ['Declare the shapes of the model’s inputs.'] },
    )
  }

  /** A number everywhere, shaped like a value. */
  fill(value: Value, number: number, type = this.typeOf(value)): Value {
    return this.op('ConstantOfShape', [this.shapeOf(value)], {
      value: { kind: 'tensor', value: toConstant(tensorOf(type, [1], [number])) },
    })
  }

  zerosLike(value: Value): Value {
    return this.fill(value, 0)
  }

  /** Sum, mean or extreme over axes; the form of the axes changed with opset 18 for all but sums. */
  reduce(op: string, value: Value, axes: readonly number[], keepdims: 0 | 1 = 1): Value {
    return op === 'ReduceSum' || this.opset >= 18
      ? this.op(op, [value, this.ints(...axes)], { keepdims })
      : this.op(op, [value], { axes, keepdims })
  }
}

const comparisons = new Set([
  'Less',
  'LessOrEqual',
  'Greater',
  'GreaterOrEqual',
  'Equal',
  'And',
  'Or',
  'Not',
])

export const asAttributes = (stated: Attributes): Record<string, Attribute> =>
  Object.fromEntries(Object.entries(stated).map(([name, value]) => [name, toAttribute(value)]))

export function toAttribute(value: Attributes[string]): Attribute {
  if (typeof value === 'number') return { kind: 'int', value: BigInt(value) }
  if (typeof value === 'string') return { kind: 'string', value: new TextEncoder().encode(value) }
  if (Array.isArray(value)) return { kind: 'ints', value: value.map(BigInt) }
  return value as Attribute
}
