/**
 * The form of a lowering: a fused operator written out in plain ones that have gradient rules. Sizes of
 * new values are not known while it is written; those of the operator's own inputs are.
 */
import type { GraphEdit } from '../../graph/edit.js'
import { intAttribute, type Node, type Value } from '../../graph/graph.js'
import { NodeBuilder } from '../../node-builder/node-builder.js'
import { type DataType, isFloating } from '../../onnx/data-type.js'
import type { ShapeInfo } from '../../shape/infer.js'
import { unsupported } from '../unsupported.js'

/** Replacements by output slot; undefined leaves an output to the operator itself. */
export type Lowering = (context: LoweringContext) => readonly (Value | undefined)[]

export class LoweringContext extends NodeBuilder {
  constructor(
    edit: GraphEdit,
    shapes: ShapeInfo,
    readonly node: Node,
  ) {
    super(edit, shapes, node)
  }

  /** The input in that slot, if it is given. */
  find(index: number): Value | undefined {
    return this.node.inputs[index]
  }

  input(index: number): Value {
    const value = this.node.inputs[index]
    if (value) return value
    throw unsupported(this.node, `no input ${index}`)
  }

  /** The type the operator computes in. */
  get type(): DataType {
    const types = this.node.inputs.map((input) => input && this.shapes.dataType(input))
    return types.find((type) => type && isFloating(type)) ?? 'float32'
  }

  /** A number of the operator's type. */
  constant(number: number): Value {
    return this.number(number, this.type)
  }

  /** The size of an input along one axis, which has to be known. */
  size(value: Value, axis: number): number {
    const size = this.shapes.dims(value)?.at(axis)?.value
    if (size !== undefined) return size
    throw unsupported(this.node, `an input "${value.name}" of unknown width`)
  }

  count(name: string): number {
    return intAttribute(this.node, name, 0)
  }

  /** int64 [n]: 0, 1, … up to the size (int64 [1]). */
  range(size: Value): Value {
    const scalar = this.ints()
    const zero = this.number(0, 'int64')
    return this.op('Range', [zero, this.op('Reshape', [size, scalar]), this.number(1, 'int64')])
  }
}
