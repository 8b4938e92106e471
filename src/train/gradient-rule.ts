/**
 * The form of a gradient rule: from the gradients of a node's outputs to those of its inputs, as
 * nodes. One rule per operator; rules/ has them by family.
 */
import type { GraphEdit } from '../graph/edit.js'
import type { Attribute, Node, Value } from '../graph/graph.js'
import type { ShapeInfo } from '../shape/infer.js'
import type { Size } from '../shape/symbolic.js'

export interface GradientRule {
  /** Gradients of the inputs, by slot; undefined where nothing flows or nothing is wanted. */
  backward(context: GradientContext): readonly (Value | undefined)[]
  /** The gradients have the shape of output 0: what broadcasting repeated is summed by the walk. */
  readonly broadcasts?: boolean
}

export interface GradientContext {
  readonly node: Node
  readonly edit: GraphEdit
  readonly shapes: ShapeInfo
  readonly opset: number
  /** Gradient of an output; undefined where the loss doesn't depend on it. */
  gradient(output: number): Value | undefined
  input(index: number): Value
  output(index: number): Value
  /** Whether the gradient of this input is wanted. */
  needs(index: number): boolean
  /** A new node of one output. */
  op(op: string, inputs: readonly (Value | undefined)[], attributes?: Attributes): Value
  /** A number of the same type as `like`. */
  scalar(number: number, like: Value): Value
  /** int64 [n]. */
  ints(...numbers: readonly number[]): Value
  /** Shape of a value as int64 [rank]: a constant where it is known. */
  shapeOf(value: Value): Value
  rank(value: Value): number
  /** Zeros shaped like a value. */
  zerosLike(value: Value): Value
  /** Sums what broadcasting repeated, so that `gradient` of sizes `dims` gets the shape of `target`. */
  unbroadcast(gradient: Value, dims: readonly Size[] | undefined, target: Value): Value
}

/** Attributes in short: whole numbers, lists of them, strings, or any other kind written out. */
export type Attributes = Readonly<Record<string, number | readonly number[] | string | Attribute>>
