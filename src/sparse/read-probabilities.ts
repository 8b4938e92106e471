/** What becomes of attention's probabilities before they weigh the values. */
import type { Node, Value } from '../graph/graph.js'
import type { TransformerModel } from '../model/model.js'
import { areEqual } from '../onnx/equal-tensors.js'
import { onlyNumber } from '../onnx/numbers.js'
import { conditionOf } from './condition.js'
import type { Mask } from './read.js'
import { Unreadable } from './unreadable.js'

export interface ReadProbabilities {
  /** What the product reads: the probabilities, or the same with some cleared. */
  readonly weights: Value
  /** Whether queries that see no key get nothing, where a softmax alone would spread over all keys. */
  readonly isCleared: boolean
}

const passed = ['Cast', 'Identity', 'Reshape', 'Unsqueeze', 'Squeeze', 'Dropout']

/** Throws `Unreadable`. */
export function readProbabilities(
  view: TransformerModel,
  probabilities: Value,
  product: Node,
  masks: readonly Mask[],
): ReadProbabilities {
  let weights = probabilities
  let isCleared = false
  for (;;) {
    if (weights.isGraphOutput) throw new Unreadable('its probabilities are an output')
    const readers = [...new Set([...weights.uses].map(({ node }) => node))]
    const next = readers.filter((node) => !isNanTest(node, weights, readers))
    if (next.length !== 1 || !next[0]) throw new Unreadable('its probabilities are read elsewhere')
    if (next[0] === product) return { weights, isCleared }
    const { op, domain } = next[0]
    const isHidden = domain === '' && isMaskedAgain(view, next[0], weights, masks)
    const isPassed = domain === '' && (passed.includes(op) || isNanCleared(next[0], weights))
    if (!isPassed && !isHidden)
      throw new Unreadable(`"${next[0].label}" (${op}) changes its probabilities`)
    isCleared ||= isHidden
    weights = next[0].outputs[0] as Value
  }
}

const isNanTest = (node: Node, value: Value, readers: readonly Node[]): boolean =>
  node.op === 'IsNaN' &&
  readers.some((each) => isNanCleared(each, value) && each.inputs[0]?.producer === node)

const isNanCleared = (node: Node, value: Value): boolean =>
  node.op === 'Where' && node.inputs[0]?.producer?.op === 'IsNaN' && node.inputs[2] === value

/** One value, or constants of the same numbers: exporters that fold masks write each anew. */
const isSame = (one: Value, other: Value): boolean =>
  one === other ||
  (one.constant !== undefined &&
    other.constant !== undefined &&
    areEqual(one.constant, other.constant))

/**
 * Whether probabilities become zero just where one of the masks hid their scores: that changes only queries of which
 * every key is hidden.
 */
function isMaskedAgain(
  { analysis: { shapes } }: TransformerModel,
  node: Node,
  weights: Value,
  masks: readonly Mask[],
): boolean {
  const [first, second, third] = node.inputs
  const isZero = (value: Value | undefined): boolean =>
    onlyNumber(value && shapes.constant(value)) === 0
  const factor = node.op === 'Mul' ? (first === weights ? second : first) : undefined
  const told = node.op === 'Where' ? first : factor
  const keeps = factor !== undefined || (second === weights && isZero(third))
  const hides = node.op === 'Where' && third === weights && isZero(second)
  if (!told || !(keeps || hides)) return false
  const now = conditionOf(shapes, told)
  if (shapes.dataType(now.value) !== 'bool') return false
  return masks.some(({ value, how }) => {
    if (how === 'add') return false
    const before = conditionOf(shapes, value)
    const isSameWay = (before.isTurned === now.isTurned) === ((how === 'keep') === keeps)
    return isSame(before.value, now.value) && isSameWay
  })
}
