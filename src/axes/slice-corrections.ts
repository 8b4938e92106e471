/** Numbers of a sliced graph that counted members: means, scales and ranges over what is fewer now. */
import type { GraphEdit } from '../graph/edit.js'
import type { Node, Value } from '../graph/graph.js'
import { int64Tensor, type Tensor } from '../onnx/tensor.js'
import type { ShapeInfo } from '../shape/infer.js'
import { Size } from '../shape/symbolic.js'
import { sizeValue } from './size-value.js'

/** Replaces entries of an integer operand: a new constant where all are numbers, a correction otherwise. */
export function setIntegers(
  edit: GraphEdit,
  shapes: ShapeInfo,
  node: Node,
  index: number,
  elements: readonly (Size | undefined)[],
): void {
  const operand = node.inputs[index]
  const now = operand && shapes.integers(operand)?.elements
  const merged = elements.map((size, i) => size ?? now?.[i])
  const numbers = merged.map((size) => size?.value)
  // Fractions are no sizes: a model that no runtime takes.
  if (numbers.some((n) => n !== undefined && !Number.isInteger(n))) return
  const dims = operand ? shapes.dims(operand)?.map((size) => size.value ?? 1) : undefined
  // An operand may have several dimensions of which the first counts: the index of a GatherND.
  const shape = dims?.length === 0 ? [] : [elements.length, ...(dims?.slice(1) ?? [])]
  if (
    numbers.every((n) => n !== undefined) &&
    (!operand || shapes.constant(operand) || !now?.some(isSymbolic))
  ) {
    edit.setInput(
      node,
      index,
      edit.constant(int64Tensor(shape, numbers as number[]), `${node.label}/sizes`),
    )
    return
  }
  if (!operand) return
  edit.setInput(node, index, correct(edit, shapes, node, operand, now ?? [], elements))
}

const isSymbolic = (size: Size | undefined): boolean =>
  size !== undefined && size.value === undefined

/** Entries of a computed operand set to numbers, or scaled where they are multiples of a symbol. */
function correct(
  edit: GraphEdit,
  shapes: ShapeInfo,
  node: Node,
  operand: Value,
  now: readonly (Size | undefined)[],
  wanted: readonly (Size | undefined)[],
): Value {
  const length = [wanted.length]
  const name = `${node.label}/sizes`
  const vector = (values: readonly number[]): Value =>
    edit.constant(int64Tensor(length, values), name)
  let result = operand
  const ratios = wanted.map((size, i) =>
    size && size.value === undefined && now[i] ? size.ratioTo(now[i]) : undefined,
  )
  if (ratios.some((ratio) => ratio)) {
    const times = vector(ratios.map((ratio) => ratio?.[0] ?? 1))
    const over = vector(ratios.map((ratio) => ratio?.[1] ?? 1))
    const scaled = edit.add('Mul', [result, times], { output: name, before: node })
    result = edit.add('Div', [scaled, over], { output: name, before: node })
  }
  // A size that the operand no longer computes is what a -1 stands for, once in a Reshape.
  const lost = wanted.flatMap((size, i) =>
    size && size.value === undefined && !ratios[i] ? [i] : [],
  )
  const flag = (isSet: (i: number) => boolean): Value =>
    edit.constant(
      boolTensor(
        length,
        wanted.map((_, i) => (isSet(i) ? 1 : 0)),
      ),
      `${node.label}/which`,
    )
  const place = { graph: node.graph, shapes, before: node }
  for (const index of node.op === 'Reshape' && lost.length === 1 ? [] : lost) {
    const size = sizeValue(edit, place, wanted[index] as Size)
    if (!size) continue
    const inputs = [flag((i) => i === index), size, result]
    result = edit.add('Where', inputs, { output: name, before: node })
  }
  const numbers =
    node.op === 'Reshape' && lost.length === 1
      ? wanted.with(lost[0] as number, Size.of(-1)).map((size) => size?.value)
      : wanted.map((size) => size?.value)
  if (numbers.some((value) => value !== undefined)) {
    const condition = flag((i) => numbers[i] !== undefined)
    const values = vector(numbers.map((value) => value ?? 0))
    result = edit.add('Where', [condition, values, result], { output: name, before: node })
  }
  return result
}

const boolTensor = (dims: readonly number[], values: readonly number[]): Tensor => {
  const bytes = Uint8Array.from(values)
  return { dataType: 'bool', dims, byteLength: bytes.length, bytes: () => bytes }
}

/** Range number `position` of a Slice becomes [start, end). */
export function setRange(
  edit: GraphEdit,
  shapes: ShapeInfo,
  node: Node,
  position: number,
  start: Size,
  end: Size | undefined,
): void {
  const last = Size.of(Number.MAX_SAFE_INTEGER)
  const wanted: readonly [string, number, Size][] = [
    ['starts', 1, start],
    ['ends', 2, end ?? last],
  ]
  for (const [name, index, value] of wanted) {
    const attribute = node.attributes.get(name)
    if (attribute?.kind === 'ints' && value.value !== undefined) {
      edit.setAttribute(node, name, {
        kind: 'ints',
        value: attribute.value.with(position, BigInt(value.value)),
      })
      continue
    }
    const operand = node.inputs[index]
    const elements = operand && shapes.integers(operand)?.elements
    if (!operand || !elements) continue
    const next = elements.map((_, i) => (i === position ? value : undefined))
    setIntegers(edit, shapes, node, index, next)
  }
}
