/**
 * Attention taken apart where it is written in plain operators: queries, keys, values, what happens to
 * the scores, the masks. Everything that is not exactly understood is a reason to leave it alone.
 */
import { type Axis, leavesOf } from '../axes/axis.js'
import { intAttribute, type Node, type Value } from '../graph/graph.js'
import { lowestSeen } from '../model/lowest-seen.js'
import type { TransformerModel } from '../model/model.js'
import type { LayeredAttention } from '../model/model-dimension.js'
import { onlyNumber } from '../onnx/numbers.js'
import { knownIntegers } from '../shape/known-integers.js'
import { checkRows } from './mask-rows.js'
import { readProbabilities } from './read-probabilities.js'
import { scoreSteps } from './score-steps.js'
import { Unreadable } from './unreadable.js'

export interface Mask {
  readonly value: Value
  /** The scores as they are laid out there. */
  readonly scores: Value
  /** `add`: added to the scores; `keep`: true where a key is seen; `hide`: true where it is not. */
  readonly how: 'add' | 'keep' | 'hide'
  /** What hidden scores are, where they are not added to. */
  readonly fill?: number
}

export interface ReadAttention {
  readonly block: LayeredAttention
  readonly query: Value
  /** Turned: [.., size, keys]. */
  readonly turnedKey: Value
  readonly value: Value
  readonly heads: number
  readonly scale: number
  /** 0: none. */
  readonly softcap: number
  readonly masks: readonly Mask[]
  /** Whether queries that see no key get nothing, where a softmax alone would spread over all keys. */
  readonly isCleared: boolean
}

/** Throws `Unreadable`. */
export function readAttention(view: TransformerModel, block: LayeredAttention): ReadAttention {
  const { scores, probabilities, node, context } = block
  if (block.over === 'edges') throw new Unreadable('it runs over the edges of a graph already')
  if (!scores || !probabilities) throw new Unreadable(`${node.op} hides its scores`)
  if (block.kind === 'cross') throw new Unreadable('it reads another sequence')
  const product = context.producer
  const scoring = scores.producer
  if (!isProduct(scoring) || !isProduct(product))
    throw new Unreadable('its products are no plain MatMul')
  const [query, turnedKey] = scoring.inputs as [Value, Value]
  if (turnedKey !== block.keys) throw new Unreadable('its scores are turned')
  checkSoftmax(view, node)
  checkOrder(view, block, scores)
  const chain = readScores(view, scores, node.inputs[0] as Value)
  const { weights, isCleared } = readProbabilities(view, probabilities, product, chain.masks)
  const [left, value] = product.inputs as [Value, Value]
  if (left !== weights) throw new Unreadable('its context is turned')
  for (const mask of chain.masks) checkRows(view, block, mask)
  return { block, query, turnedKey, value, heads: block.heads, isCleared, ...chain }
}

const isProduct = (node: Node | undefined): node is Node =>
  node?.op === 'MatMul' && node.domain === ''

/** Scores are [batch…, heads…, queries, keys], heads of one key-value head side by side. */
function checkOrder(view: TransformerModel, block: LayeredAttention, scores: Value): void {
  const axes = view.analysis.axes(scores) ?? []
  const leading = axes.slice(0, -2).flatMap(leavesOf)
  const heads = [...block.keyValueHeadAxes, ...block.groupAxes].filter(({ size }) => !size.isOne)
  if (heads.some((leaf) => !leading.includes(leaf)))
    throw new Unreadable(
      isGrouped(view, scores)
        ? 'queries of heads that share keys are rows of one product, as lighten writes them: name --pass sparsify in the command that lightens, or leave that out with --no-lighten'
        : 'its heads are mixed before they weigh the values',
    )
  const tail = leading.filter(({ size }) => !size.isOne).slice(-heads.length || Infinity)
  const isInOrder = heads.every((leaf, index) => tail[index] === leaf)
  const layout = `[${axes.map(({ size }) => size).join(', ')}]`
  if (heads.length > 0 && !isInOrder)
    throw new Unreadable(
      isAscending(heads, leading)
        ? `its scores are ${layout}, with further rows behind its heads, as where it runs in chunks of its own`
        : 'its heads are in an order of their own',
    )
  const own = axes.length === 4 ? axes[1] : undefined
  const count = heads.reduce((product, { size }) => product * (size.value ?? 1), 1)
  if (own && leavesOf(own).some((leaf) => heads.includes(leaf)) && own.size.value !== count)
    throw new Unreadable(
      own.size.value === undefined
        ? `its scores are ${layout}, with heads and rows of the batch in one axis behind others, as where it runs in chunks of its own`
        : `its scores have ${own.size} heads, of which ${count} were read`,
    )
  const [queries, keys] = axes.slice(-2)
  const more = queries && keys?.size.sub(queries.size).value
  if (more !== undefined && more < 0)
    throw new Unreadable(`it has ${queries?.size} queries for ${keys?.size} keys`)
  const last = axes.slice(-2).flatMap(leavesOf)
  if (last.some((leaf) => heads.includes(leaf)))
    throw new Unreadable('its heads are among queries and keys')
}

/** Whether heads and queries were put together for the product, and nothing else: [B, H, S, d] as [B, K, G·S, d]. */
function isGrouped(view: TransformerModel, scores: Value): boolean {
  const together = scores.producer?.inputs[0]?.producer
  const sizes = together?.op === 'Reshape' ? together.inputs[1] : undefined
  const stated = sizes && knownIntegers(sizes, view.analysis.shapes)
  return stated?.length === 4 && stated[0] === 0 && stated[2] === -1 && stated[3] === 0
}

/** Whether those heads that are there stand one after the other as they should. */
const isAscending = (heads: readonly Axis[], all: readonly Axis[]): boolean => {
  const places = heads.map((leaf) => all.indexOf(leaf)).filter((place) => place >= 0)
  return places.every((place, index) => index === 0 || place > (places[index - 1] as number))
}

type Chain = Pick<ReadAttention, 'scale' | 'softcap' | 'masks'>

/** What happens to the scores on their way to the softmax. */
function readScores(view: TransformerModel, scores: Value, logits: Value): Chain {
  const steps = scoreSteps(scores, logits)
  if (!steps) throw new Unreadable('its scores are lost on the way')
  let scale = 1
  let bounded = false
  let softcap = 0
  const masks: Mask[] = []
  for (const { node, from } of steps) {
    const others = node.inputs.filter((input) => input !== from)
    const number = others.length === 1 ? scalarOf(view, others[0]) : undefined
    const isPlain = node.domain === ''
    if (isPlain && ['Identity', 'Cast', 'Reshape', 'Unsqueeze', 'Squeeze'].includes(node.op)) {
      if (node.op !== 'Cast') checkSameOrder(view, from, node.outputs[0] as Value)
    } else if (isPlain && (node.op === 'Mul' || node.op === 'Div') && number !== undefined) {
      const factor = node.op === 'Mul' ? number : 1 / number
      if (node.op === 'Div' && node.inputs[0] !== from)
        throw new Unreadable(`"${node.label}" divides by its scores`)
      if (masks.length > 0) throw new Unreadable('its scores are scaled after their mask')
      if (bounded && softcap === 0) {
        softcap = factor
        scale *= factor
      } else if (bounded) throw new Unreadable('its scores are scaled after their soft cap')
      else scale *= factor
    } else if (isPlain && node.op === 'Tanh') {
      if (bounded || masks.length > 0) throw new Unreadable('its soft cap comes after a mask')
      bounded = true
    } else if (isPlain && node.op === 'Add' && others[0])
      masks.push({ value: others[0], scores: from, how: 'add' })
    else if (isPlain && node.op === 'Where') masks.push(readWhere(view, node, from))
    else if (isPlain && node.op === 'Max' && number !== undefined && number <= lowestSeen) {
      // A floor below all that is seen.
    } else throw new Unreadable(`"${node.label}" (${node.op}) stands between scores and softmax`)
  }
  if (bounded && softcap === 0) throw new Unreadable('its scores are bounded without a cap')
  if (!(scale > 0)) throw new Unreadable('the scale of its scores is not positive')
  return { scale, softcap, masks }
}

function readWhere(view: TransformerModel, node: Node, from: Value): Mask {
  const [condition, yes, no] = node.inputs
  const fill = scalarOf(view, from === yes ? no : yes)
  if (!condition || fill === undefined || fill > lowestSeen)
    throw new Unreadable(`"${node.label}" replaces scores by what is no mask`)
  return { value: condition, scores: from, how: from === yes ? 'keep' : 'hide', fill }
}

/** One number, or a tensor of nothing else. */
function scalarOf(view: TransformerModel, value: Value | undefined): number | undefined {
  return onlyNumber(value && view.analysis.shapes.constant(value))
}

function checkSameOrder(view: TransformerModel, from: Value, to: Value): void {
  const [before, after] = [from, to].map((value) =>
    (view.analysis.axes(value) ?? []).flatMap(leavesOf).filter(({ size }) => !size.isOne),
  )
  const isSame = before?.length === after?.length && before?.every((leaf, i) => leaf === after?.[i])
  if (!isSame) throw new Unreadable(`"${to.name}" puts scores in another order`)
}

/** Softmax over the last axis, the only one there is a pattern for. */
function checkSoftmax(view: TransformerModel, node: Node): void {
  const rank = (node.inputs[0] && view.analysis.axes(node.inputs[0]))?.length ?? 0
  const axis = intAttribute(node, 'axis', -1)
  if (axis !== -1 && axis !== rank - 1)
    throw new Unreadable('its softmax is not over the last axis')
}
