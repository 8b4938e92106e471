/** The form of a shape rule: one function per operator that says its outputs' shapes. */
import type { Graph, Node } from '../graph/graph.js'
import type { DataType } from '../onnx/data-type.js'
import type { KnownElements } from './elements.js'
import type { ShapeInfo } from './infer.js'
import type { Size } from './symbolic.js'

export interface ShapeContext {
  readonly node: Node
  dims(input: number): readonly Size[] | undefined
  dataType(input: number): DataType | undefined
  /** Elements of a small integer or boolean input. */
  elements(input: number): KnownElements | undefined
  /** States an output; undefined sizes become symbols of their own. */
  set(output: number, dims: readonly (Size | undefined)[] | undefined, type?: DataType): void
  setElements(output: number, elements: KnownElements | undefined): void
  /** A symbol for an axis of an output that nothing is known of. */
  fresh(output: number, axis: number): Size
  unresolved(size: Size): boolean
  /** Shapes inside a graph that an attribute holds. */
  infer(inner: Graph): ShapeInfo
}

export type ShapeRule = (context: ShapeContext) => void
