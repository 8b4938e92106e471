/**
 * The form of a gradient rule: from the gradients of a node's outputs to those of its inputs, as
 * nodes. One rule per operator; rules/ has them by family.
 */
import type { Node, Value } from '../graph/graph.js'
import type { NodeBuilder } from '../node-builder/node-builder.js'
import type { Size } from '../shape/symbolic.js'

export interface GradientRule {
  /** Gradients of the inputs, by slot; undefined where nothing flows or nothing is wanted. */
  backward(context: GradientContext): readonly (Value | undefined)[]
  /** The gradients have the shape of output 0: what broadcasting repeated is summed by the walk. */
  readonly broadcasts?: boolean
}

export interface Scattered {
  readonly places: Value
  readonly updates: Value
}

export interface GradientContext extends NodeBuilder {
  readonly node: Node
  /** Gradient of an output; undefined where the loss doesn't depend on it. */
  gradient(output: number): Value | undefined
  input(index: number): Value
  output(index: number): Value
  /** Whether the gradient of this input is wanted. */
  needs(index: number): boolean
  /**
   * What a gradient is made of that is zeros with some elements added along `axis`, and nothing else;
   * the rule takes over from the nodes that made it.
   */
  takeScattered(output: number, axis: number): Scattered | undefined
  /** Sums what broadcasting repeated, so that `gradient` of sizes `dims` gets the shape of `target`. */
  unbroadcast(gradient: Value, dims: readonly Size[] | undefined, target: Value): Value
}
