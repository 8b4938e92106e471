/**
 * The form of an axis rule: how an operator relates the axes of its inputs and outputs, and what in
 * it states a size. One rule per operator; rules/ has them by family.
 */
import type { GraphEdit } from '../graph/edit.js'
import type { Node, Value } from '../graph/graph.js'
import type { ShapeInfo } from '../shape/infer.js'
import type { Size } from '../shape/symbolic.js'
import type { Axis, Mark } from './axis.js'

export interface AxisRule {
  /** Joins, contracts, entangles and blocks axes. Inputs and outputs of unknown rank never get here. */
  relate(context: RuleContext): void
  /** Adapts attributes and operands that state sizes or positions, after members are removed. */
  rewrite?(context: RewriteContext): void
}

export interface RuleContext {
  readonly node: Node
  readonly shapes: ShapeInfo
  /** Axes of an input; undefined where the slot is empty or the rank unknown. */
  input(index: number): readonly Axis[] | undefined
  output(index: number): readonly Axis[] | undefined
  /** Axes of a value made earlier. */
  axesOf(value: Value): readonly Axis[] | undefined
  /** Whether the input is the same in every run: made of constants only. */
  isConstant(index: number): boolean
  /** Whether the results only serve to be taken off scores, where they cancel (shift.ts). */
  readonly isShift: boolean
  newAxis(size: Size): Axis
  unify(left: Axis | undefined, right: Axis | undefined): void
  /** Joins two axes with the same total made of different factors. */
  unifyProducts(left: readonly Axis[], right: readonly Axis[]): void
  /** `whole` is laid out as these products, end to end. */
  unifyParts(whole: Axis, parts: readonly (readonly Axis[])[]): void
  /** Notes axes of the node by name, for the rewrite and for the reading of roles. */
  record(axes: Readonly<Record<string, Axis>>): void
  /** The axes are summed over in a product; removal equals a zero in the first operand. */
  contract(operands: readonly Operand[]): void
  /** `derived` has one member per aligned run of `block` members of `of`. */
  blocks(derived: Axis | undefined, of: Axis | undefined, block: number): void
  /** `bytes` holds the members of `of`, several to a byte. */
  packed(bytes: Axis | undefined, of: Axis | undefined, perByte: number): void
  entangle(axis: Axis | undefined, text: string): void
  /** A mean over the axis that is no norm's: a sum, where projections made what is summed. */
  mean(operand: Operand, text: string): void
  block(axis: Axis | undefined, text: string): void
  mark(axis: Axis | undefined, mark: Mark): void
  /** Blocks every axis of every input and output. */
  blockAll(text: string): void
}

/** An axis of an input of the node. */
export interface Operand {
  readonly input: number
  readonly axis: number
}

export interface RewriteContext {
  readonly node: Node
  readonly edit: GraphEdit
  readonly shapes: ShapeInfo
  input(index: number): readonly Axis[] | undefined
  output(index: number): readonly Axis[] | undefined
  /** Members of an axis that stay, ascending; undefined where all do or the size is not a number. */
  kept(axis: Axis): readonly number[] | undefined
  /** Size after the removal. */
  sizeOf(axis: Axis): Size
  recorded(): Readonly<Record<string, Axis>> | undefined
  /** Whether the node sums over an axis that may lose members. */
  isContracted(): boolean
  setFloat(name: string, value: number): void
  setInt(name: string, value: number): void
  setInts(name: string, values: readonly number[]): void
  removeAttribute(name: string): void
  /** Range number `position` of a Slice becomes [start, end); no end: to the last member. */
  setRange(position: number, start: Size, end: Size | undefined): void
  /** The elements of an integer operand as the graph will compute them after the removal. */
  computed(input: number): readonly (Size | undefined)[] | undefined
  /** Makes an integer operand yield these elements; undefined entries stay as they are. */
  setIntegers(input: number, elements: readonly (Size | undefined)[]): void
  valueOf(input: number): Value | undefined
}

/** Position of an axis counted from the front. */
export const fromFront = (axis: number, rank: number): number => (axis < 0 ? axis + rank : axis)
