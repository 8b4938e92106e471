/** What a gradient rule sees of its node, and what it builds with. */
import { fromFront } from '../axes/rule.js'
import { InternalError } from '../errors.js'
import type { GraphEdit } from '../graph/edit.js'
import { intAttribute, type Node, type Value } from '../graph/graph.js'
import { NodeBuilder } from '../node-builder/node-builder.js'
import type { ShapeInfo } from '../shape/infer.js'
import type { Size } from '../shape/symbolic.js'
import { eraseScatter, scatterOf } from './add-up.js'
import type { GradientContext, Scattered } from './gradient-rule.js'
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
    const gradient = this.gradient(output)
    const node = gradient && scatterOf(gradient)
    const [, places, updates] = node?.inputs ?? []
    if (node?.op !== 'ScatterElements' || !places || !updates) return undefined
    if (fromFront(intAttribute(node, 'axis', 0), this.rank(this.output(output))) !== axis)
      return undefined
    eraseScatter(this.edit, node)
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
