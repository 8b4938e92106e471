/**
 * The dense model with members' contributions set to zero where they are summed: the meaning that a
 * removal must keep. Norms leave those members out. Used to check slices, and to try a plan without
 * changing any shape.
 */
import type { GraphEdit } from '../graph/edit.js'
import type { Node, Value } from '../graph/graph.js'
import { type DataType, dataTypeCode, isFloating } from '../onnx/data-type.js'
import { type Tensor, tensorFromBytes } from '../onnx/tensor.js'
import type { AxisAnalysis, Contraction } from './analysis.js'
import type { Axis } from './axis.js'
import { maskNorms } from './masked-norm.js'
import { Removal } from './removal.js'

/** Multiplies, before every contraction of a touched axis, the members that go by zero. */
export function maskMembers(
  edit: GraphEdit,
  analysis: AxisAnalysis,
  keep: ReadonlyMap<Axis, readonly number[]>,
): void {
  const removal = new Removal(
    new Map([...keep].filter(([leaf, members]) => members.length < (leaf.size.value ?? 0))),
  )
  // Two axes of one input may be summed: what is masked already has the axes of what it was.
  const before = new Map<Value, Value>()
  for (const { node, operands } of analysis.contractions) {
    const operand =
      operands.find(({ input }) => {
        const value = node.inputs[input]
        return value && !analysis.isConstant(value)
      }) ?? operands[0]
    const kept = operand && removal.kept(operand.what)
    if (!operand || !kept) continue
    if (node.op in zeroPoints) {
      maskQuantised(edit, analysis, node, operand, kept)
      continue
    }
    const place = floatingSource(analysis, node, operand.input)
    const value = place?.node.inputs[place.index]
    const source = value && (before.get(value) ?? value)
    const rank = source && analysis.axes(source)?.length
    const type = source && analysis.shapes.dataType(source)
    if (!place || !value || !source || rank === undefined || !type) continue
    const mask = edit.constant(
      maskTensor(type, operand.what.size.value as number, kept, rank - operand.axis - 1),
      `${node.label}/kept`,
    )
    const masked = edit.add('Mul', [value, mask], {
      output: `${value.name}/masked`,
      before: place.node,
    })
    before.set(masked, source)
    edit.setInput(place.node, place.index, masked)
  }
  maskNorms(edit, analysis, (axis, type, node) => {
    const kept = removal.kept(axis)
    return (
      kept &&
      edit.constant(maskTensor(type, axis.size.value as number, kept, 0), `${node.label}/kept`)
    )
  })
}

/** Products of integers whose zero points are operands, so many behind the number. */
const zeroPoints: Readonly<Record<string, number>> = { QLinearMatMul: 2, QGemm: 2, QLinearConv: 2 }

/** What stays is chosen from the integers, and what goes is their zero. */
function maskQuantised(
  edit: GraphEdit,
  analysis: AxisAnalysis,
  node: Node,
  { input, axis, what }: Contraction['operands'][number],
  kept: readonly number[],
): void {
  const value = node.inputs[input]
  const rank = value && analysis.axes(value)?.length
  const zero = node.inputs[input + (zeroPoints[node.op] ?? 0)]
  if (!value || !zero || rank === undefined) return
  const mask = edit.constant(
    maskTensor('bool', what.size.value as number, kept, rank - axis - 1),
    `${node.label}/kept`,
  )
  const type = analysis.shapes.dataType(zero) ?? 'uint8'
  // Runtimes choose between int32 and not between int8.
  const cast = (from: Value, to: DataType): Value =>
    edit.add('Cast', [from], {
      attributes: { to: { kind: 'int', value: BigInt(dataTypeCode(to)) } },
      output: `${value.name}/masked`,
      before: node,
    })
  const wide = edit.add('Where', [mask, cast(value, 'int32'), cast(zero, 'int32')], {
    output: `${value.name}/masked`,
    before: node,
  })
  edit.setInput(node, input, cast(wide, type))
}

/** Quantised data is masked before it is quantised: its range then is that of the sliced model. */
function floatingSource(
  analysis: AxisAnalysis,
  node: Node,
  index: number,
): { node: Node; index: number } | undefined {
  const value: Value | undefined = node.inputs[index]
  if (!value) return undefined
  // What a mask was put on has no known type yet: it is floating.
  const type = analysis.shapes.dataType(value) ?? 'float32'
  const { producer } = value
  const isQuantiser = producer?.op === 'QuantizeLinear' || producer?.op === 'DynamicQuantizeLinear'
  const isDequantiser = producer?.op === 'DequantizeLinear'
  if (producer && (isQuantiser || isDequantiser || (type && !isFloating(type))))
    return floatingSource(analysis, producer, 0)
  return type && isFloating(type) ? { node, index } : undefined
}

const ones: Partial<Record<DataType, readonly number[]>> = {
  float32: [0, 0, 0x80, 0x3f],
  float16: [0, 0x3c],
  bfloat16: [0x80, 0x3f],
  float64: [0, 0, 0, 0, 0, 0, 0xf0, 0x3f],
  bool: [1],
}

/** [size, 1 …] with ones at the kept members. */
function maskTensor(
  type: DataType,
  size: number,
  kept: readonly number[],
  trailing: number,
): Tensor {
  const one = ones[type] ?? []
  const bytes = new Uint8Array(size * one.length)
  for (const member of kept) bytes.set(one, member * one.length)
  return tensorFromBytes(type, [size, ...Array<number>(trailing).fill(1)], bytes)
}
