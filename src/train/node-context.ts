/** What a gradient rule sees of its node, and what it builds with. */
import { fromFront } from '../axes/rule.js'
import { InternalError } from '../errors.js'
import type { GraphEdit } from '../graph/edit.js'
import { intAttribute, type Node, stringAttribute, type Value } from '../graph/graph.js'
import type { ShapeInfo } from '../shape/infer.js'
import type { Size } from '../shape/symbolic.js'
import type { GradientContext, Scattered } from './gradient-rule.js'
import { NodeBuilder } from './node-builder.js'
import { unbroadcast } from './unbroadcast.js'

export class NodeContext extends NodeBuilder implements GradientContext {
  constructor(
    edit: GraphEdit,
    shapes: ShapeInfo,
    readonly node: Node,
    private readonly gradients: readonly (Value | undefined)[],
    private readonly active: ReadonlySet<Value>,
  ) {
    super(edit, shapes)
  }

  gradient(output: number): Value | undefined {
    return this.gradients[output]
  }

  input(index: number): Value {
    return this.required(this.node.inputs[index], `input ${index}`)
  }

  output(index: number): Value {
    return this.required(this.node.outputs[index], `output ${index}`)
  }

  needs(index: number): boolean {
    const input = this.node.inputs[index]
    return input !== undefined && this.active.has(input)
  }

  takeScattered(output: number, axis: number): Scattered | undefined {
    const node = this.gradient(output)?.producer
    const [zeros, places, updates] = node?.inputs ?? []
    const isScattered =
      node?.op === 'ScatterElements' &&
      stringAttribute(node, 'reduction') === 'add' &&
      fromFront(intAttribute(node, 'axis', 0), this.rank(this.output(output))) === axis
    if (!isScattered || zeros?.producer?.op !== 'ConstantOfShape' || !places || !updates)
      return undefined
    if (node.outputs.some((each) => each && each.uses.size > 0)) return undefined
    this.edit.erase(node)
    if (zeros.uses.size === 0) this.edit.erase(zeros.producer)
    return { places, updates }
  }

  unbroadcast(gradient: Value, dims: readonly Size[] | undefined, target: Value): Value {
    return unbroadcast(this, gradient, dims, target)
  }

  private required(value: Value | undefined, slot: string): Value {
    if (value) return value
    throw new InternalError(`"${this.node.label}" (${this.node.op}) has no ${slot}`)
  }
}
