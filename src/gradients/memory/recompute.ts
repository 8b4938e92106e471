/**
 * The forward pass of a segment once more, for its backward pass alone, so that nothing of the first time
 * has to be kept. ONNX Runtime merges nodes that are alike and runs them as early as it likes: so the
 * second time reads what enters the segment with a zero added that is made of the gradient which
 * leaves it, and no part of it can be run, or taken for the first, before that gradient is there.
 */
import type { GraphEdit } from '../../graph/edit.js'
import type { Node, Value } from '../../graph/graph.js'
import type { NodeBuilder } from '../../node-builder/node-builder.js'
import { tensorOf, toConstant } from '../../onnx/numbers.js'
import type { Segment } from './segments.js'

/** A zero that is there when all of `values` are, of the type of `like`. */
export function zeroOf(b: NodeBuilder, values: readonly Value[], like: Value): Value {
  const type = b.typeOf(like)
  // What half precision can't hold would be infinite there, and zero times it no zero.
  const wide = type === 'float16' ? 'float32' : type
  const firsts = values.map((value) => {
    const flat = b.op('Reshape', [value, b.ints(-1)])
    return b.cast(b.op('Slice', [flat, b.ints(0), b.ints(1), b.ints(0)]), wide)
  })
  // An empty value has no first element, but the sum is a number all the same.
  const zero = b.edit.constant(toConstant(tensorOf(wide, [1], [0])))
  const all = b.op('Concat', [...firsts, zero], { axis: 0 })
  const sum = b.op('Mul', [b.op('ReduceSum', [all], { keepdims: 0 }), b.number(0, wide)])
  return type === wide ? sum : b.cast(sum, type)
}

export class SecondForward {
  /** What is made again, by what was made first. */
  private readonly copies = new Map<Value, Value>()
  private readonly nodes: Node[] = []

  constructor(
    private readonly b: NodeBuilder,
    private readonly segment: Pick<Segment, 'nodes' | 'entering' | 'leaving'>,
    /** Gradients that have to be there before it begins. */
    gradients: readonly Value[],
  ) {
    for (const value of segment.entering) this.copies.set(value, this.delayed(value, gradients))
    for (const node of segment.nodes)
      if (node.inputs.some((input) => input && this.copies.has(input))) this.copy(node)
  }

  /** Lets the nodes that were made since read the second values; copies that nobody reads go again. */
  serve(isReader: (node: Node) => boolean): void {
    const { edit } = this.b
    const leaving = new Set(this.segment.leaving)
    for (const [value, copy] of this.copies)
      if (!leaving.has(value)) edit.replaceUses(value, copy, ({ node }) => isReader(node))
    for (const node of this.nodes.toReversed()) this.eraseUnread(edit, node)
  }

  private delayed(value: Value, gradients: readonly Value[]): Value {
    const copy = this.b.op('Add', [value, zeroOf(this.b, gradients, value)])
    if (copy.producer) this.nodes.push(copy.producer)
    return copy
  }

  private copy(node: Node): void {
    const { op, domain, overload, inputs, outputs, attributes } = node
    const made = this.b.edit.addNode({
      op,
      domain,
      overload,
      inputs: inputs.map((input) => (input && this.copies.get(input)) ?? input),
      outputs: outputs.map((output) => output && `${output.name}/again`),
      attributes: Object.fromEntries(attributes),
    })
    this.nodes.push(made)
    for (const [index, output] of outputs.entries())
      if (output) this.copies.set(output, made.outputs[index] as Value)
  }

  private eraseUnread(edit: GraphEdit, node: Node): void {
    if (node.outputs.every((output) => !output || output.uses.size === 0)) edit.erase(node)
  }
}
