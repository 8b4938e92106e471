/**
 * Scores that are hidden by arithmetic, s·b + n·(1 − b) with b of zeros and ones and n far below, and shares that are
 * cleared so, with n of zero, written as what they are: a Where of b. Converters from TensorFlow write it for Select.
 */
import type { GraphEdit } from '../graph/edit.js'
import type { Node, Value } from '../graph/graph.js'
import { lowestSeen } from '../model/lowest-seen.js'
import type { TransformerModel } from '../model/model.js'
import type { LayeredAttention } from '../model/model-dimension.js'
import { isMover } from '../model/trace.js'
import { NodeBuilder } from '../node-builder/node-builder.js'
import { fromConstant, numbersOf, onlyNumber } from '../onnx/numbers.js'
import { eraseUnread } from '../rewrite/erase-unread.js'
import type { ShapeInfo } from '../shape/infer.js'
import { conditionOf } from './condition.js'
import { scoreSteps } from './score-steps.js'

/** Whether anything was written anew. */
export function writeBlends(
  edit: GraphEdit,
  { analysis: { shapes } }: TransformerModel,
  blocks: readonly LayeredAttention[],
): boolean {
  let found = false
  const isClearing = (fill: number): boolean => fill === 0
  const isHiding = (fill: number): boolean => fill <= lowestSeen
  for (const { scores, node, probabilities, context } of blocks) {
    const [logits] = node.inputs
    const [weights] = context.producer?.inputs ?? []
    const before = (scores && logits && scoreSteps(scores, logits)) ?? []
    const after = (probabilities && weights && scoreSteps(probabilities, weights)) ?? []
    for (const [steps, isFill] of [
      [before, isHiding],
      [after, isClearing],
    ] as const)
      for (const [index, { node: product, from }] of steps.entries()) {
        const next = steps[index + 1]
        const shown = otherOf(product, 'Mul', from)
        const fill = next && shown && fillOf(shapes, next.node, next.from, shown)
        const [blend] = next?.node.outputs ?? []
        const type = shapes.dataType(from)
        if (!shown || fill === undefined || !isFill(fill) || !blend || !type || !next) continue
        const build = new NodeBuilder(edit, shapes, next.node)
        const where = [asBool(build, shown), from, build.number(fill, type)]
        edit.replaceUses(blend, build.op('Where', where))
        eraseUnread(edit, next.node)
        found = true
      }
  }
  return found
}

/** The condition that zeros and ones were made of, where there is one. */
function asBool(build: NodeBuilder, shown: Value): Value {
  const { value, isTurned } = conditionOf(build.shapes, shown)
  const isOwn = !isTurned && build.shapes.dataType(value) === 'bool'
  return isOwn ? value : build.cast(shown, 'bool')
}

/** n of `from` + n·(1 − shown), if `shown` holds zeros and ones. */
function fillOf(shapes: ShapeInfo, node: Node, from: Value, shown: Value): number | undefined {
  const added = otherOf(node, 'Add', from)
  const taken = node.inputs[0] === from ? otherOf(node, 'Sub', from) : undefined
  const product = (added ?? taken)?.producer
  if (product?.op !== 'Mul' || product.domain !== '') return undefined
  const numbers = product.inputs.map((value) => onlyNumber(value && shapes.constant(value)))
  const at = numbers.findIndex((number) => number !== undefined)
  const hidden = product.inputs[1 - at]
  const fill = (numbers[at] ?? 0) * (added ? 1 : -1)
  const isBlend = hidden !== undefined && isComplement(shapes, hidden, shown)
  return isBlend && isOnOff(shapes, shown) ? fill : undefined
}

function isComplement(shapes: ShapeInfo, hidden: Value, shown: Value): boolean {
  if (complementOf(shapes, hidden) === shown) return true
  const [no, yes] = [conditionOf(shapes, hidden), conditionOf(shapes, shown)]
  return no.value === yes.value && no.isTurned !== yes.isTurned
}

/** x of 1 − x. */
function complementOf(shapes: ShapeInfo, value: Value): Value | undefined {
  const [one, other] = value.producer?.op === 'Sub' ? value.producer.inputs : []
  return one && onlyNumber(shapes.constant(one)) === 1 ? other : undefined
}

/** Whether a value holds nothing but zeros and ones. */
function isOnOff(shapes: ShapeInfo, value: Value): boolean {
  if (shapes.dataType(value) === 'bool') return true
  const constant = shapes.constant(value)
  const known = constant && fromConstant(constant)
  if (known) return numbersOf(known).every((number) => number === 0 || number === 1)
  const node = value.producer
  const moved = node?.domain === '' && node.op !== 'Pad' && (isMover(node) || node.op === 'Cast')
  const data = node?.op === 'Concat' ? node.inputs : node?.inputs.slice(0, 1)
  const source = complementOf(shapes, value)
  if (source) return isOnOff(shapes, source)
  return moved === true && !node?.op.startsWith('Scatter') && data !== undefined
    ? data.every((each) => each !== undefined && isOnOff(shapes, each))
    : false
}

/** The other operand of a node of this kind. */
const otherOf = (node: Node, op: string, from: Value): Value | undefined =>
  node.op === op && node.domain === '' ? node.inputs.find((each) => each !== from) : undefined
