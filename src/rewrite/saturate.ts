/**
 * Sums that stop at the ends of half precision instead of becoming infinite. Some numbers of a residual stream are
 * thousands of times as large as all others (Sun et al. 2024, "Massive Activations in Large Language Models"); norms
 * hide how large, so training moves them freely, and one that passes 65,504 leaves nothing finite from then on.
 */
import type { GraphEdit } from '../graph/edit.js'
import type { Node, Value } from '../graph/graph.js'
import { NodeBuilder } from '../node-builder/node-builder.js'
import { largestHalf } from '../onnx/half-precision.js'
import { onlyNumber } from '../onnx/numbers.js'
import { inferShapes, type ShapeInfo } from '../shape/infer.js'

const products = /^(MatMul|Gemm|Conv|FusedMatMul)$/
const norms = /Normalization$/
const moves = /^(Transpose|Reshape|Identity|Squeeze|Unsqueeze)$/

/**
 * A sum that a stream goes on with, or a norm reads; a product's infinity, and that of a sum on the
 * way, are held there. Of what is multiplied, what a product reads adds up.
 */
function isStream({ op }: Node, output: Value): boolean {
  const readers = readersOf(output)
  const isRead = (by: RegExp): boolean => readers.some((node) => by.test(node.op))
  if (/^(Add|Sub|Sum)$/.test(op)) return readers.length > 1 || isRead(norms)
  return op === 'Mul' && isRead(products)
}

/** Of the value, or of what it becomes by being moved. */
function readersOf({ uses }: Value): readonly Node[] {
  const [first, ...others] = [...uses].map(({ node }) => node)
  const [moved] = first?.outputs ?? []
  if (!first || others.length > 0 || !moved || !moves.test(first.op))
    return first ? [first, ...others] : []
  return readersOf(moved)
}

/** How many there were; among what is learned. */
export function saturateSums(edit: GraphEdit, learned: ReadonlySet<Value>): number {
  const shapes = inferShapes(edit.graph)
  const b = new NodeBuilder(edit, shapes)
  let count = 0
  for (const node of [...edit.graph.nodes()]) {
    const [output] = node.outputs
    if (!output || !isStream(node, output) || !addsLearned(node, output, learned, shapes)) continue
    const bounds = [-largestHalf, largestHalf].map((bound) => b.number(bound, 'float16'))
    const between = `${output.name}/unbounded`
    edit.insertAfter(node, 0, { op: 'Clip', between, inputs: bounds })
    count++
  }
  return count
}

/** In half precision, and of at least two learned operands as large as the result. */
function addsLearned(
  { inputs, domain }: Node,
  output: Value,
  learned: ReadonlySet<Value>,
  shapes: ShapeInfo,
): boolean {
  const dims = shapes.dims(output)
  if (domain !== '' || !dims || shapes.dataType(output) !== 'float16') return false
  const isLarge = (input: Value | undefined): boolean => {
    const own = input && shapes.dims(input)
    return (
      own?.length === dims.length && own.every((size, axis) => size.equals(dims[axis] as never))
    )
  }
  return inputs.filter((input) => input && learned.has(input) && isLarge(input)).length >= 2
}

export function isSaturation({ inputs: [, least, most] }: Node): boolean {
  return onlyNumber(least?.constant) === -largestHalf && onlyNumber(most?.constant) === largestHalf
}
