/**
 * What happens between scores and their softmax, in the one form that is read: scaled first, masks
 * added after it. Written so where a mask is subtracted or scaled with the scores, where each head
 * has a scale of its own (its queries take it), and where something is taken off that is the same
 * for all keys of a query: a softmax doesn't see it.
 */
import type { GraphEdit } from '../graph/edit.js'
import type { Node, Value } from '../graph/graph.js'
import type { TransformerModel } from '../model/model.js'
import type { LayeredAttention } from '../model/model-dimension.js'
import { NodeBuilder } from '../node-builder/node-builder.js'
import { onlyNumber } from '../onnx/numbers.js'
import { eraseUnread } from '../rewrite/erase-unread.js'
import { type ScoreStep, scoreSteps } from './score-steps.js'

/** Whether anything was written anew. */
export function writeScoresPlainly(
  edit: GraphEdit,
  view: TransformerModel,
  blocks: readonly LayeredAttention[],
): boolean {
  const written = blocks.map(({ scores, node }) => {
    const [logits] = node.inputs
    const steps = scores && logits && scoreSteps(scores, logits)
    if (!steps) return false
    return runs(view, steps)
      .map((run) => writeRun(edit, view, scores, run))
      .includes(true)
  })
  return written.includes(true)
}

const arithmetic = new Set(['Mul', 'Div', 'Add', 'Sub', 'Where'])

/** Steps of arithmetic that follow each other, without those that lay scores out anew between them. */
function runs({ analysis }: TransformerModel, steps: readonly ScoreStep[]): ScoreStep[][] {
  const rankOf = (value: Value | undefined): number | undefined =>
    value && analysis.axes(value)?.length
  const found: ScoreStep[][] = [[]]
  for (const step of steps)
    if (!arithmetic.has(step.node.op) || step.node.domain !== '') found.push([])
    else if (rankOf(step.from) === rankOf(step.node.outputs[0])) found.at(-1)?.push(step)
    else return []
  return found.filter((run) => run.length > 0)
}

interface MaskStep {
  /** What is added; or which scores stay, or don't. */
  readonly value: Value
  readonly factor: number
  readonly fill: { readonly number: number; readonly isFirst: boolean } | undefined
}

interface Plain {
  scale: number
  readonly factors: Value[]
  masks: MaskStep[]
  /** Whether it is written in another form now. */
  isOdd: boolean
}

function writeRun(
  edit: GraphEdit,
  view: TransformerModel,
  scores: Value,
  run: readonly ScoreStep[],
): boolean {
  const plain: Plain = { scale: 1, factors: [], masks: [], isOdd: false }
  if (!run.every((step) => take(view, scores, plain, step)) || !plain.isOdd) return false
  const [{ from: first }] = run as [ScoreStep]
  const last = run.at(-1)?.node as Node
  const build = new NodeBuilder(edit, view.analysis.shapes, last)
  const start =
    plain.factors.length === 0 ? first : scaledQueries(build, scores, first, plain.factors)
  const type = view.analysis.shapes.dataType(scores)
  if (!start || !type) return false
  let result = plain.scale === 1 ? start : build.op('Mul', [start, build.number(plain.scale, type)])
  for (const { value, factor, fill } of plain.masks) {
    if (fill) {
      const hidden = build.number(fill.number, type)
      const branches = fill.isFirst ? [hidden, result] : [result, hidden]
      result = build.op('Where', [value, ...branches])
    } else {
      const scaled = factor === 1 ? value : build.op('Mul', [value, build.number(factor, type)])
      result = build.op('Add', [result, scaled])
    }
  }
  edit.replaceUses(last.outputs[0] as Value, result)
  eraseUnread(edit, last)
  return true
}

/** Whether a step is understood. */
function take(
  { analysis }: TransformerModel,
  scores: Value,
  plain: Plain,
  { node, from }: ScoreStep,
): boolean {
  const { shapes } = analysis
  // Queries and keys may be several axes each: rows and columns of an image.
  const [own, now] = [scores, from].map((each) => shapes.dims(each)?.slice(-2))
  const isWhole = own?.every((size, index) => now?.[index]?.equals(size)) === true
  const number = (value: Value | undefined): number | undefined =>
    onlyNumber(value && shapes.constant(value))
  const other = node.inputs.find((each) => each !== from)
  if (node.op === 'Where') {
    const [condition, yes, no] = node.inputs
    const fill = number(from === yes ? no : yes)
    if (!condition || fill === undefined || from === condition) return false
    const isFirst = from === no
    plain.masks.push({ value: condition, factor: 1, fill: { number: fill, isFirst } })
    return true
  }
  if (!other || (node.inputs[0] !== from && node.op === 'Div')) return false
  if (node.op === 'Mul' || node.op === 'Div') {
    const stated = number(other)
    if (stated !== undefined) {
      const factor = node.op === 'Mul' ? stated : 1 / stated
      plain.isOdd ||= plain.masks.length > 0
      plain.scale *= factor
      plain.masks = plain.masks.map((mask) => scaled(mask, factor))
      return factor > 0
    }
    plain.isOdd = true
    plain.factors.push(other)
    return node.op === 'Mul' && plain.masks.length === 0 && isOfHeads(other)
  }
  const keys = shapes.dims(from)?.at(-1)
  if (isWhole && shapes.dims(other)?.at(-1)?.isOne && keys && !keys.isOne) {
    // The same for all keys.
    plain.isOdd = true
    return node.op === 'Add' || node.inputs[0] === from
  }
  const sign = node.op === 'Sub' ? -1 : 1
  plain.isOdd ||= sign < 0
  plain.masks.push({ value: other, factor: sign, fill: undefined })
  return sign > 0 || node.inputs[0] === from

  /** One for all pairs of a head. */
  function isOfHeads(value: Value): boolean {
    const dims = shapes.dims(value)
    const rank = shapes.dims(from)?.length ?? 0
    const isSame = dims?.slice(-2).every((size) => size.isOne)
    return isWhole && isSame === true && (dims?.length ?? 0) <= rank
  }
}

const scaled = ({ value, factor, fill }: MaskStep, by: number): MaskStep => ({
  value,
  factor: factor * by,
  fill: fill && { ...fill, number: fill.number * by },
})

/** The scores again, of queries times factors; undefined where something came between. */
function scaledQueries(
  build: NodeBuilder,
  scores: Value,
  first: Value,
  factors: readonly Value[],
): Value | undefined {
  const [query, key] = scores.producer?.inputs ?? []
  if (first !== scores || scores.producer?.op !== 'MatMul' || !query || !key) return undefined
  const turned = factors.reduce((product, factor) => build.op('Mul', [product, factor]), query)
  return build.op('MatMul', [turned, key])
}
