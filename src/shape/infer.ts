/**
 * Shapes of all values, with symbols for sizes that are not known, and the values of the small
 * integer tensors that exporters compute shapes with. One walk in node order; an operator without a
 * rule leaves its outputs unknown unless the file declares them.
 */

import type { Dim, Graph, Node, Value } from '../graph/graph.js'
import type { DataType } from '../onnx/data-type.js'
import type { Tensor } from '../onnx/tensor.js'
import { type KnownElements, readElements, toTensor } from './elements.js'
import type { ShapeRule } from './rule.js'
import { findShapeRule } from './rules/index.js'
import { Size } from './symbolic.js'

export interface ShapeInfo {
  /** Sizes along each axis; undefined where the rank is not known. */
  dims(value: Value): readonly Size[] | undefined
  dataType(value: Value): DataType | undefined
  /** Elements of a small tensor of integers or booleans, entries as far as known. */
  integers(value: Value): KnownElements | undefined
  /** A constant, or a small tensor that is the same in every run. */
  constant(value: Value): Tensor | undefined
  readonly notes: readonly { readonly node: Node; readonly reason: string }[]
}

export interface ShapeOptions {
  /** Sizes of symbols of the graph's inputs. */
  readonly overrides?: ReadonlyMap<string, number>
  /** Sizes that are known from elsewhere and win over what a rule says. */
  readonly pinnedDims?: (value: Value) => readonly Size[] | undefined
}

export function inferShapes(graph: Graph, options: ShapeOptions = {}): ShapeInfo {
  return new Inference(graph, options)
}

class Inference implements ShapeInfo {
  readonly notes: { node: Node; reason: string }[] = []
  private readonly known = new Map<Value, readonly Size[]>()
  private readonly types = new Map<Value, DataType>()
  private readonly elements = new Map<Value, KnownElements | undefined>()

  constructor(
    graph: Graph,
    private readonly options: ShapeOptions,
    private readonly outer?: Inference,
  ) {
    for (const input of graph.inputs) this.declare(input)
    for (const node of graph.nodes()) this.visit(node)
  }

  dims(value: Value): readonly Size[] | undefined {
    const pinned = this.options.pinnedDims?.(value)
    if (pinned) return pinned
    const known = this.known.get(value)
    if (known) return known
    if (value.constant) return value.constant.dims.map((dim) => Size.of(dim))
    return this.outer?.dims(value)
  }

  dataType(value: Value): DataType | undefined {
    return (
      value.constant?.dataType ??
      this.types.get(value) ??
      value.type?.dataType ??
      this.outer?.dataType(value)
    )
  }

  integers(value: Value): KnownElements | undefined {
    if (this.elements.has(value)) return this.elements.get(value)
    const found = value.constant ? readElements(value.constant) : this.outer?.integers(value)
    this.elements.set(value, found)
    return found
  }

  constant(value: Value): Tensor | undefined {
    if (value.constant) return value.constant
    const known = this.integers(value)
    const type = this.dataType(value)
    return known && type ? toTensor(known, type) : undefined
  }

  private declare(value: Value): void {
    const { overrides } = this.options
    const dims = value.type?.dims
    if (dims)
      this.known.set(
        value,
        dims.map((dim, axis) => this.sizeOf(value, dim, axis, overrides)),
      )
    if (value.type?.dataType) this.types.set(value, value.type.dataType)
  }

  private sizeOf(value: Value, dim: Dim, axis: number, overrides: ShapeOptions['overrides']): Size {
    if (typeof dim === 'number') return Size.of(dim)
    const symbol = dim ?? `${value.name}.${axis}`
    return Size.of(overrides?.get(symbol) ?? symbol)
  }

  private visit(node: Node): void {
    const rule = findShapeRule(node)
    if (!rule)
      this.notes.push({ node, reason: `no shape rule for ${node.domain || 'ai.onnx'} ${node.op}` })
    else this.apply(rule, node)
    for (const output of node.outputs) {
      // Some exporters declare constants as of no axes.
      if (!output || output.constant || this.known.has(output)) continue
      // What the file declares is better than nothing.
      this.declare(output)
    }
  }

  private apply(rule: ShapeRule, node: Node): void {
    const at = (index: number): Value | undefined => node.inputs[index]
    try {
      rule({
        node,
        dims: (index) => {
          const value = at(index)
          return value && this.dims(value)
        },
        dataType: (index) => {
          const value = at(index)
          return value && this.dataType(value)
        },
        elements: (index) => {
          const value = at(index)
          return value && this.integers(value)
        },
        set: (index, dims, type) => this.setOutput(node, index, dims, type),
        setElements: (index, elements) => {
          const output = node.outputs[index]
          if (output && elements) this.elements.set(output, elements)
        },
        fresh: (index, axis) => this.fresh(node, index, axis),
        unresolved: (size) => this.isUnresolved(size),
        infer: (inner) => new Inference(inner, options(this.options), this),
      })
    } catch (error) {
      if (!(error instanceof RangeError || error instanceof TypeError)) throw error
      this.notes.push({ node, reason: `its shape could not be worked out: ${error.message}` })
    }
  }

  private fresh(node: Node, index: number, axis: number): Size {
    const declared = node.outputs[index]?.type?.dims?.[axis]
    if (typeof declared === 'number') return Size.of(declared)
    return Size.of(`${node.outputs[index]?.name ?? node.id}.${axis}`)
  }

  private isUnresolved(size: Size): boolean {
    return size.value === undefined
  }

  private setOutput(
    node: Node,
    index: number,
    dims: readonly (Size | undefined)[] | undefined,
    type: DataType | undefined,
  ): void {
    const output = node.outputs[index]
    if (!output) return
    if (type) this.types.set(output, type)
    if (!dims) return
    this.known.set(
      output,
      dims.map((size, axis) => size ?? this.fresh(node, index, axis)),
    )
  }
}

/** Inner graphs share symbols with the outer one, not its pinned values' names. */
const options = (outer: ShapeOptions): ShapeOptions => outer
