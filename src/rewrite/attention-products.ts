/**
 * Attention as two products around a softmax, read backwards from it: softmax(scale·Q·Kᵀ + masks)·V
 * with heads before tokens, in the forms that exporters and the other rewrites leave. Sizes have to
 * be known; anything else is not read.
 */
import { intAttribute, type Node, type Value } from '../graph/graph.js'
import { onlyNumber } from '../onnx/numbers.js'
import type { ShapeInfo } from '../shape/infer.js'
import { knownSizes } from '../shape/known-sizes.js'
import { beforeTurn } from './turned.js'

/** B batch, H heads, K key-value heads, S queries, T keys, d and e sizes of heads. */
export interface AttentionProducts {
  /** [B, H, S, d] */
  readonly query: Value
  readonly scale: number
  /** Scores are softcap · tanh(score / softcap) before masks; 0 is none. */
  readonly softcap: number
  /** [B, K, T, d], or with the last two turned. */
  readonly key: Value
  readonly isTurned: boolean
  /** [B, K, T, e] */
  readonly value: Value
  readonly masks: readonly Mask[]
  /** [B, H, S, e] */
  readonly context: Value
}

/** Broadcast to [B, H, S, T]. */
export interface Mask {
  /** What is added to scores; or, beside `hidden`, which of them stay. */
  readonly value: Value
  /** What stands where scores don't stay; a scalar. */
  readonly hidden?: Value | undefined
}

/**
 * The attention that a softmax belongs to; undefined where it is of another form, or something else
 * reads what would go.
 */
export function readProducts(softmax: Node, shapes: ShapeInfo): AttentionProducts | undefined {
  const [logits] = softmax.inputs
  const [probabilities] = softmax.outputs
  const dims = logits && knownSizes(logits, shapes)
  if (softmax.domain !== '' || !logits || !probabilities || dims?.length !== 4) return undefined
  if (![-1, 3].includes(intAttribute(softmax, 'axis', -1))) return undefined
  const [B, H, S, T] = dims as [number, number, number, number]
  const scored = readScores(logits, dims, shapes)
  const read = contextOf(withoutNaN(probabilities))
  if (!scored || !read) return undefined
  const [rows, columns] = scored.product.inputs as [Value, Value]
  const query = withoutScale(
    rows.producer?.op === 'Reshape' ? (rows.producer.inputs[0] as Value) : rows,
  )
  const turned = withoutScale(columns)
  const straight = beforeTurn(turned.value, shapes)
  const { value, context } = read
  const [, , , d] = knownSizes(query.value, shapes) ?? []
  const [, K, , e] = knownSizes(value, shapes) ?? []
  const scale = scored.scale * query.scale * turned.scale
  if (!d || !e || !K || H % K !== 0 || !(scale > 0)) return undefined
  const key = straight ?? turned.value
  const expected: readonly (readonly [Value, readonly number[]])[] = [
    [query.value, [B, H, S, d]],
    [key, straight ? [B, K, T, d] : [B, K, d, T]],
    [value, [B, K, T, e]],
    [context, [B, H, S, e]],
  ]
  if (!expected.every(([each, sizes]) => String(knownSizes(each, shapes)) === String(sizes)))
    return undefined
  const { masks, softcap } = scored
  return { query: query.value, scale, softcap, key, isTurned: !straight, value, masks, context }
}

interface Scores {
  readonly product: Node
  readonly scale: number
  readonly softcap: number
  readonly masks: readonly Mask[]
}

/** From the softmax's input back to the product of queries and keys. */
function readScores(logits: Value, dims: readonly number[], shapes: ShapeInfo): Scores | undefined {
  const { producer } = logits
  if (producer?.domain !== '' || !isReadOnce(logits)) return undefined
  if (String(knownSizes(logits, shapes)) !== String(dims)) return undefined
  const inner = (value: Value | undefined) => value && readScores(value, dims, shapes)
  const { op, inputs } = producer
  if (op === 'MatMul') return { product: producer, scale: 1, softcap: 0, masks: [] }
  if (op === 'Reshape') {
    const [whole] = inputs as [Value]
    const scaled = isReadOnce(whole) ? withoutScale(whole) : undefined
    const product = scaled && isReadOnce(scaled.value) ? scaled.value.producer : undefined
    return scaled && product?.op === 'MatMul'
      ? { product, scale: scaled.scale, softcap: 0, masks: [] }
      : undefined
  }
  if (op === 'Where') {
    const [value, scores, hidden] = inputs as [Value, Value, Value]
    const found = knownSizes(hidden, shapes)?.every((size) => size === 1) && inner(scores)
    return found ? { ...found, masks: [...found.masks, { value, hidden }] } : undefined
  }
  if (op === 'Add')
    for (const [at, value] of inputs.entries()) {
      const mask = inputs[1 - at] as Value
      const found = knownSizes(mask, shapes) && inner(value)
      if (found) return { ...found, masks: [...found.masks, { value: mask }] }
    }
  const factor = scaleOf(producer)
  const bent = factor?.value.producer
  if (factor && bent?.op === 'Tanh' && isReadOnce(factor.value)) {
    const found = inner(bent.inputs[0])
    const isPlain = found && found.masks.length === 0 && found.softcap === 0 && factor.scale > 0
    return isPlain
      ? { ...found, scale: found.scale * factor.scale, softcap: factor.scale }
      : undefined
  }
  const found = factor && inner(factor.value)
  // What was added before would be scaled as well.
  return found && found.masks.length === 0
    ? { ...found, scale: found.scale * factor.scale }
    : undefined
}

const isReadOnce = ({ uses, isGraphOutput }: Value): boolean => uses.size === 1 && !isGraphOutput

interface Scaled {
  readonly value: Value
  readonly scale: number
}

/** What a node multiplies, or divides, by a number. */
function scaleOf({ op, inputs }: Node): Scaled | undefined {
  if (op !== 'Mul' && op !== 'Div') return undefined
  for (const [at, value] of inputs.entries()) {
    const number = onlyNumber(inputs[1 - at]?.constant)
    if (!value || number === undefined || (op === 'Div' && at === 1)) continue
    return { value, scale: op === 'Mul' ? number : 1 / number }
  }
  return undefined
}

const withoutScale = (value: Value): Scaled =>
  (value.producer && scaleOf(value.producer)) ?? { value, scale: 1 }

/** Rows that see nothing are cleared by exporters: Where(IsNaN(p), 0, p). The operator clears them, too. */
function withoutNaN(probabilities: Value): Value {
  const readers = [...probabilities.uses].map(({ node }) => node)
  const [test, where] = ['IsNaN', 'Where'].map((op) => readers.find((node) => node.op === op))
  const isClearing =
    readers.length === 2 &&
    !probabilities.isGraphOutput &&
    where?.inputs[0] === test?.outputs[0] &&
    where?.inputs[2] === probabilities &&
    onlyNumber(where?.inputs[1]?.constant) === 0
  return isClearing ? (where?.outputs[0] as Value) : probabilities
}

/** The product of the probabilities with the values, in the shape that is read on. */
function contextOf(
  probabilities: Value,
): { readonly value: Value; readonly context: Value } | undefined {
  const reader = onlyReader(probabilities)
  const isGrouped = reader?.op === 'Reshape'
  const rows = isGrouped ? (reader.outputs[0] as Value) : probabilities
  const product = isGrouped ? onlyReader(rows) : reader
  const value = product?.inputs[1]
  if (product?.op !== 'MatMul' || product.inputs[0] !== rows || !value) return undefined
  const context = product.outputs[0] as Value
  if (!isGrouped) return { value, context }
  const split = onlyReader(context)
  return split?.op === 'Reshape' ? { value, context: split.outputs[0] as Value } : undefined
}

function onlyReader(value: Value): Node | undefined {
  const [use] = value.uses
  return isReadOnce(value) ? use?.node : undefined
}
