/**
 * A size as the running graph can work it out: from the shapes of the graph's inputs, where its symbols
 * are lengths of theirs. For operands that state a size in a way that a removal breaks.
 */
import type { GraphEdit } from '../graph/edit.js'
import type { Graph, Node, Value } from '../graph/graph.js'
import { int64Tensor } from '../onnx/tensor.js'
import type { ShapeInfo } from '../shape/infer.js'
import { Size } from '../shape/symbolic.js'

/** A vector of one element, made before `before`; undefined where a symbol is no input's length. */
export function sizeValue(
  edit: GraphEdit,
  { graph, shapes, before }: { graph: Graph; shapes: ShapeInfo; before: Node },
  size: Size,
): Value | undefined {
  const name = `${before.label}/size`
  const constant = (value: number): Value => edit.constant(int64Tensor([1], [value]), name)
  const add = (op: string, inputs: readonly Value[]): Value =>
    edit.add(op, [...inputs], { output: name, before })
  let sum: Value | undefined
  for (const { factor, symbols } of size.monomials) {
    let term = constant(factor)
    for (const symbol of symbols) {
      const place = inputWith(graph, shapes, symbol)
      if (!place) return undefined
      const length = add('Gather', [add('Shape', [place.value]), constant(place.axis)])
      term = add('Mul', [term, length])
    }
    sum = sum ? add('Add', [sum, term]) : term
  }
  return sum ?? constant(0)
}

function inputWith(
  graph: Graph,
  shapes: ShapeInfo,
  symbol: string,
): { value: Value; axis: number } | undefined {
  const wanted = Size.of(symbol)
  for (const value of graph.inputs) {
    const axis = shapes.dims(value)?.findIndex((size) => size.equals(wanted)) ?? -1
    if (axis >= 0) return { value, axis }
  }
  return undefined
}
