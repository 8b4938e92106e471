/**
 * Sequences whose members are known without running, as exporters write split, chunk, unbind and lists of tensors
 * that are joined again: Split, Slice, Gather and Concat in their place, which rules know. Sequences that a loop
 * makes stay.
 */

import { edit, type GraphEdit } from '../graph/edit.js'
import { intAttribute, type Model, type Node, type Value } from '../graph/graph.js'
import { addUnsqueeze } from '../graph/versioned-nodes.js'
import { fromConstant, numbersOf } from '../onnx/numbers.js'
import { int64Tensor } from '../onnx/tensor.js'
import { inferShapes, type ShapeInfo } from './infer.js'

/** Members of a sequence; undefined for one that can't be told. */
type Members = readonly ((before: Node) => Value)[]

export function openSequences({ graph }: Model): void {
  const readers = [...graph.nodes()].filter(
    ({ op, domain }) => domain === '' && (op === 'SequenceAt' || op === 'ConcatFromSequence'),
  )
  if (readers.length === 0) return
  edit(graph, 'attnc.sequences', (change) => {
    const opening = new Opening(change, inferShapes(graph))
    for (const reader of readers) opening.open(reader)
    opening.eraseUnread()
  })
}

class Opening {
  private readonly splits = new Map<Node, readonly (Value | undefined)[]>()

  constructor(
    private readonly change: GraphEdit,
    private readonly shapes: ShapeInfo,
  ) {}

  open(reader: Node): void {
    const { change } = this
    const [sequence, at] = reader.inputs
    const [output] = reader.outputs
    if (!sequence || !output || output.isGraphOutput) return
    const result =
      reader.op === 'SequenceAt'
        ? this.member(sequence, this.numberOf(at), reader)
        : this.join(reader)
    if (!result) return
    change.replaceUses(output, result)
  }

  /** Sequences that nothing reads any more, and what read them. */
  eraseUnread(): void {
    const { change } = this
    const nodes = [...change.graph.nodes()].filter(({ op }) => /Sequence/.test(op)).reverse()
    for (const node of nodes)
      if (node.outputs.every((each) => !each || (each.uses.size === 0 && !each.isGraphOutput)))
        change.erase(node)
  }

  private member(sequence: Value, at: number | undefined, reader: Node): Value | undefined {
    if (at === undefined) return undefined
    const maker = sequence.producer
    const whole = this.membersOf(sequence)
    if (whole) return whole.at(at)?.(reader)
    return maker?.op === 'SplitToSequence' ? this.cut(maker, at, reader) : undefined
  }

  private join(reader: Node): Value | undefined {
    const { change } = this
    const [sequence] = reader.inputs
    const members = sequence && this.membersOf(sequence)
    if (!members || members.length === 0) return undefined
    const axis = intAttribute(reader, 'axis', 0)
    const parts = members.map((make) => make(reader))
    const apart =
      intAttribute(reader, 'new_axis', 0) === 0
        ? parts
        : parts.map((part) => addUnsqueeze(change, part, [axis], reader))
    return change.add('Concat', apart, { attributes: { axis: int(axis) }, before: reader })
  }

  private membersOf(sequence: Value): Members | undefined {
    const maker = sequence.producer
    if (maker?.domain !== '') return undefined
    const { inputs } = maker
    if (maker.op === 'SequenceEmpty') return []
    if (maker.op === 'SequenceConstruct')
      return inputs.flatMap((each) => (each ? [() => each] : []))
    if (maker.op === 'Identity') return inputs[0] && this.membersOf(inputs[0])
    if (maker.op === 'SequenceInsert') return this.inserted(maker)
    return maker.op === 'SplitToSequence' ? this.parts(maker) : undefined
  }

  private inserted({ inputs }: Node): Members | undefined {
    const [sequence, value, place] = inputs
    const before = sequence && this.membersOf(sequence)
    const at = place ? this.numberOf(place) : before?.length
    if (!before || !value || at === undefined) return undefined
    return before.toSpliced(at, 0, () => value)
  }

  /** Parts of a split whose number is known. */
  private parts(split: Node): Members | undefined {
    const [value, sizes] = split.inputs
    const axis = intAttribute(split, 'axis', 0)
    const size = value && this.shapes.dims(value)?.at(axis)?.value
    const stated = sizes && this.numbersIn(sizes)
    const isEach = sizes !== undefined && this.isSingle(sizes)
    if (sizes && !stated) return undefined
    if ((isEach || !sizes) && size === undefined) return undefined
    const step = sizes ? (stated?.[0] ?? 1) : 1
    const count = isEach || !sizes ? Math.ceil(Number(size) / step) : (stated?.length ?? 0)
    return Array.from(
      { length: count },
      (_, at) => (before: Node) => this.cut(split, at, before) as Value,
    )
  }

  /** One part: of a list of sizes by a Split for all of them, else by itself. */
  private cut(split: Node, at: number, before: Node): Value | undefined {
    const { change } = this
    const [value, sizes] = split.inputs
    const axis = int(intAttribute(split, 'axis', 0))
    if (!value) return undefined
    const stated = sizes && this.numbersIn(sizes)
    if (sizes && !stated) return undefined
    if (stated && !this.isSingle(sizes)) return this.split(split, stated)?.at(at)
    if (!sizes && intAttribute(split, 'keepdims', 1) === 0) {
      const place = change.constant(int64Tensor([], [at]))
      return change.add('Gather', [value, place], { attributes: { axis }, before })
    }
    const step = stated?.[0] ?? 1
    // From behind, all parts but a shorter last one are of one size.
    if (at < 0 && stated) return undefined
    const vector = (number: number): Value => change.constant(int64Tensor([1], [number]))
    const end = at === -1 ? 2 ** 31 : (at + 1) * step
    const range = [vector(at * step), vector(end), vector(Number(axis.value))]
    return change.add('Slice', [value, ...range], { before })
  }

  private split(node: Node, sizes: readonly number[]): readonly (Value | undefined)[] | undefined {
    const { change } = this
    const known = this.splits.get(node)
    if (known) return known
    const isInput = (change.graph.model.opsets.get('') ?? 13) >= 13
    const made = change.addNode({
      op: 'Split',
      inputs: isInput
        ? [node.inputs[0], change.constant(int64Tensor([sizes.length], sizes))]
        : [node.inputs[0]],
      outputs: sizes.map(() => `${node.label}/part`),
      attributes: {
        axis: int(intAttribute(node, 'axis', 0)),
        ...(isInput ? {} : { split: { kind: 'ints', value: sizes.map(BigInt) } }),
      },
      before: node,
    }).outputs
    this.splits.set(node, made)
    return made
  }

  private numbersIn(value: Value): number[] | undefined {
    const constant = this.shapes.constant(value)
    const read = constant && fromConstant(constant)
    return read && Array.from(numbersOf(read), Number)
  }

  private numberOf(value: Value | undefined): number | undefined {
    return value && this.numbersIn(value)?.[0]
  }

  /** One size for all parts. */
  private isSingle(sizes: Value): boolean {
    return this.shapes.constant(sizes)?.dims.length === 0
  }
}

const int = (value: number) => ({ kind: 'int', value: BigInt(value) }) as const
