/**
 * Attention in which several query heads share a key-value head, without repeating keys and values:
 * the queries of a group are rows of one product instead. [B, H, S, D]·[B, H, D, T] with H = K·G
 * becomes [B, K, G·S, D]·[B, K, D, T], which reads keys once instead of writing them G times, and
 * whose gradient needs no sum over copies.
 */
import type { GraphEdit } from '../graph/edit.js'
import type { Attribute, Node, Value } from '../graph/graph.js'
import { int64Tensor } from '../onnx/tensor.js'
import type { ShapeInfo } from '../shape/infer.js'
import { eraseUnread } from './erase-unread.js'
import { beforeTurn } from './turned.js'

/** How many products read keys or values as they are now. */
export function groupQueries(edit: GraphEdit, shapes: ShapeInfo): number {
  let count = 0
  for (const node of [...edit.graph.nodes()]) {
    if (node.op !== 'MatMul' || node.domain !== '') continue
    const [rows, operand] = node.inputs
    const [output] = node.outputs
    const found = operand && repeatedOver(operand, shapes)
    if (!rows || !output || !found || output.isGraphOutput) continue
    const { source, heads, groups, isTurned, scale } = found
    if (shapes.dims(rows)?.length !== 4 || shapes.dims(rows)?.[1]?.value !== heads * groups)
      continue
    // 0 copies a size, −1 is what is left: sizes that are open stay so.
    const reshape = (value: Value, at: number, before: Node): Value =>
      edit.add('Reshape', [value, edit.constant(int64Tensor([4], [0, at, -1, 0]))], { before })
    const perm: Attribute = { kind: 'ints', value: [0n, 1n, 3n, 2n] }
    const turned = isTurned
      ? edit.add('Transpose', [source], { attributes: { perm }, before: node })
      : source
    const own = scale ? edit.add('Mul', [turned, scale], { before: node }) : turned
    const product = edit.add('MatMul', [reshape(rows, heads, node), own], { before: node })
    const scaling = onlyScaling(output)
    // Beside the product ONNX Runtime makes it a part of that; behind a Reshape it is a pass over all pairs of tokens.
    const whole = scaling
      ? edit.add(scaling.op, [product, numberOf(scaling, output)], { before: scaling })
      : product
    const last = scaling ?? node
    edit.replaceUses(last.outputs[0] as Value, reshape(whole, heads * groups, last))
    eraseUnread(edit, last)
    count++
  }
  return count
}

interface Repeated {
  /** [B, heads, T, D] */
  readonly source: Value
  readonly heads: number
  readonly groups: number
  readonly isTurned: boolean
  /** A number that all are multiplied by in the end. */
  readonly scale: Value | undefined
}

/** [B, K, T, D] → [B, K, 1, T, D] → [B, K, G, T, D] → [B, K·G, T, D], then perhaps turned, then perhaps scaled. */
function repeatedOver(operand: Value, shapes: ShapeInfo): Repeated | undefined {
  const [unscaled, scale] = withoutScale(operand)
  const before = unscaled && beforeTurn(unscaled, shapes)
  const whole = before ?? unscaled
  const wide = inputOf(whole, 'Reshape')
  const narrow = inputOf(wide, 'Expand')
  const source = inputOf(narrow, 'Unsqueeze') ?? inputOf(narrow, 'Reshape')
  if (!whole || !wide || !narrow || !source) return undefined
  const [B, K, T, D] = shapes.dims(source) ?? []
  const repeated = shapes.dims(wide) ?? []
  const all = shapes.dims(whole) ?? []
  const heads = K?.value
  const groups = repeated[2]?.value
  if (!B || !K || !T || !D || heads === undefined || groups === undefined) return undefined
  if (repeated.length !== 5 || all.length !== 4 || all[1]?.value !== heads * groups)
    return undefined
  const expected = [B, K, shapes.dims(narrow)?.[2], T, D]
  const isOne = shapes.dims(narrow)?.[2]?.isOne === true
  const isAlike = shapes.dims(narrow)?.every((size, axis) => expected[axis]?.equals(size)) === true
  const isSame =
    repeated[1]?.value === heads && all[2]?.equals(T) === true && all[3]?.equals(D) === true
  return isOne && isAlike && isSame
    ? { source, heads, groups, isTurned: before !== undefined, scale }
    : undefined
}

/** What reads scores and nothing else does, where it multiplies or divides them by one number. */
function onlyScaling(scores: Value): Node | undefined {
  const [use, ...others] = scores.uses
  const node = use?.node
  if (!node || others.length > 0 || node.domain !== '' || node.outputs[0]?.isGraphOutput)
    return undefined
  const number = node.inputs[1 - use.index]?.constant
  if (!number || number.dims.some((size) => size !== 1) || number.dims.length > 1) return undefined
  return node.op === 'Mul' || (node.op === 'Div' && use.index === 0) ? node : undefined
}

const numberOf = ({ inputs }: Node, scores: Value): Value | undefined =>
  inputs.find((input) => input !== scores)

function withoutScale(value: Value): readonly [Value | undefined, Value | undefined] {
  const { producer } = value
  if (producer?.op !== 'Mul') return [value, undefined]
  const at = producer.inputs.findIndex((input) => input?.constant?.dims.length === 0)
  return at < 0 ? [value, undefined] : [producer.inputs[1 - at], producer.inputs[at]]
}

const inputOf = (value: Value | undefined, op: string): Value | undefined =>
  value?.producer?.op === op && value.producer.domain === '' ? value.producer.inputs[0] : undefined
