/**
 * The two products of attention in the one form that is read: queries times turned keys, probabilities times values,
 * each a MatMul with heads before tokens. Written so where an Einsum names axes in an order of its own, and where a
 * product has its operands the other way round. A Transpose before an operand goes into the order of its axes.
 */
import { leavesOf } from '../axes/axis.js'
import type { GraphEdit } from '../graph/edit.js'
import { einsumTerms } from '../graph/einsum-terms.js'
import { intAttribute, intsAttribute, type Node, type Value } from '../graph/graph.js'
import type { TransformerModel } from '../model/model.js'
import type { LayeredAttention } from '../model/model-dimension.js'
import { dependsOn } from '../model/trace.js'
import { NodeBuilder } from '../node-builder/node-builder.js'
import { scoreSteps } from './score-steps.js'

/** A value, and a label for each of its axes. */
interface Operand {
  readonly value: Value
  readonly labels: readonly string[]
}

interface Product {
  /** Queries, or probabilities. */
  readonly rows: Operand
  /** Keys, or values. */
  readonly columns: Operand
  readonly result: readonly string[]
  /** The result as it is read, and its labels: turned where a Transpose is all that reads it. */
  readonly output: Value
  readonly outputLabels: readonly string[]
}

/** What stands for which result now: those of these blocks' products that were of another form. */
export function writeProductsPlainly(
  edit: GraphEdit,
  view: TransformerModel,
  blocks: readonly LayeredAttention[],
): ReadonlyMap<Value, Value> {
  const replaced = new Map<Value, Value>()
  for (const block of blocks)
    for (const node of oddProducts(block)) {
      const product = readProduct(view, block, node)
      if (!product || replaced.has(product.output)) continue
      const build = new NodeBuilder(edit, view.analysis.shapes, node)
      const result = emit(build, view, block, node, product)
      if (!result) continue
      edit.replaceUses(product.output, result)
      replaced.set(product.output, result)
    }
  return replaced
}

const isPlain = ({ op, domain }: Node, name: string): boolean => op === name && domain === ''

/** The products that are no MatMul of what comes first by what comes second. */
function oddProducts({ scores, keys, context, probabilities, node }: LayeredAttention): Node[] {
  const scoring = scores?.producer
  const weighing = context.producer
  if (!scoring || !weighing || !probabilities) return []
  const odd: Node[] = []
  const isKeyFirst = scoring.inputs[1] !== keys || keyAxis(scores, node) === -2
  if (isPlain(scoring, 'Einsum') || (isPlain(scoring, 'MatMul') && isKeyFirst)) odd.push(scoring)
  const [, second] = weighing.inputs
  const isValueFirst = second !== undefined && dependsOn(second, probabilities)
  if (isPlain(weighing, 'Einsum') || (isPlain(weighing, 'MatMul') && isValueFirst))
    odd.push(weighing)
  return odd
}

/** Which axis of the scores a softmax runs over, from the back; undefined where they are laid out anew on the way. */
function keyAxis(scores: Value, softmax: Node): number | undefined {
  const [logits] = softmax.inputs
  const stated = intAttribute(softmax, 'axis', -1)
  let axis = stated < 0 ? stated : undefined
  for (const { node } of (logits && scoreSteps(scores, logits)?.toReversed()) ?? []) {
    if (axis === undefined || node.op === 'Reshape') return axis === -1 ? -1 : undefined
    const perm = node.op === 'Transpose' ? intsAttribute(node, 'perm') : undefined
    if (perm) axis = (perm.at(axis) as number) - perm.length
  }
  return axis
}

function readProduct(
  { analysis }: TransformerModel,
  block: LayeredAttention,
  node: Node,
): Product | undefined {
  const [left, right, other] = node.inputs
  const [a, b, out] = [left, right, node.outputs[0]].map((value) => value && analysis.axes(value))
  if (!left || !right || other || !a || !b || !out) return undefined
  const { operands, result } = isPlain(node, 'Einsum')
    ? einsumTerms(node, [a.length, b.length], out.length)
    : matMulTerms(a.length, b.length)
  const sides = [left, right].map((value, index) =>
    beforeTurns({ value, labels: operands[index] ?? [] }),
  )
  const isScoring = node === block.scores?.producer
  const key = isScoring ? result.at(keyAxis(block.scores, block.node) ?? -1) : undefined
  const isColumns = ({ labels }: Operand, index: number): boolean =>
    key !== undefined
      ? labels.includes(key)
      : !dependsOn([left, right][index] as Value, block.probabilities as Value)
  const at = sides.findIndex(isColumns)
  const [rows, columns] = [sides[1 - at], sides[at]]
  const { value: output, labels: outputLabels } = afterTurns({
    value: node.outputs[0] as Value,
    labels: result,
  })
  return rows && columns && { rows, columns, result, output, outputLabels }
}

function matMulTerms(left: number, right: number) {
  const batch = (rank: number): string[] =>
    Array.from({ length: Math.max(rank - 2, 0) }, (_, i) => `.${rank - 3 - i}`)
  return {
    operands: [
      [...batch(left), 'm', 's'],
      [...batch(right), 's', 'n'],
    ],
    result: [...batch(Math.max(left, right)), 'm', 'n'],
  }
}

/** What an operand was before it was transposed. */
function beforeTurns({ value, labels }: Operand): Operand {
  const node = value.producer
  const [source] = node?.inputs ?? []
  const perm = node && isPlain(node, 'Transpose') ? intsAttribute(node, 'perm') : undefined
  if (!source || perm?.length !== labels.length) return { value, labels }
  return beforeTurns({
    value: source,
    labels: perm.map((_, axis) => labels[perm.indexOf(axis)] as string),
  })
}

/** What becomes of a result that only a Transpose reads. */
function afterTurns({ value, labels }: Operand): Operand {
  const [use, other] = value.uses
  const perm = use && isPlain(use.node, 'Transpose') ? intsAttribute(use.node, 'perm') : undefined
  const [output] = use?.node.outputs ?? []
  if (other || value.isGraphOutput || !output || perm?.length !== labels.length)
    return { value, labels }
  return afterTurns({ value: output, labels: perm.map((axis) => labels[axis] as string) })
}

/** undefined where it sums over more than one axis, or is no product of rows by columns. */
function emit(
  build: NodeBuilder,
  { analysis }: TransformerModel,
  { keyValueHeadAxes, groupAxes }: LayeredAttention,
  node: Node,
  { rows, columns, result, outputLabels }: Product,
): Value | undefined {
  const heads = new Set([...keyValueHeadAxes, ...groupAxes])
  const axes = analysis.axes(node.outputs[0] as Value) ?? []
  const isHeads = (label: string): boolean => {
    const axis = axes[result.indexOf(label)]
    return axis !== undefined && leavesOf(axis).some((leaf) => heads.has(leaf))
  }
  const isOnly = (own: Operand, other: Operand) => (label: string) =>
    own.labels.includes(label) && !other.labels.includes(label) && !isHeads(label)
  const row = result.findLast(isOnly(rows, columns))
  const column = result.findLast(isOnly(columns, rows))
  const summed = rows.labels.filter((label) => !result.includes(label))
  const [sum] = summed
  const isKnown = [...rows.labels, ...columns.labels].every(
    (label) => label === sum || result.includes(label),
  )
  const isOnce = [rows, columns].every(({ labels }) => new Set(labels).size === labels.length)
  if (!row || !column || !sum || summed.length > 1 || !isKnown || !isOnce) return undefined
  if (!columns.labels.includes(sum)) return undefined
  const batch = result.filter((label) => label !== row && label !== column)
  const leading = [...batch.filter((label) => !isHeads(label)), ...batch.filter(isHeads)]
  const product = build.op('MatMul', [
    laidOut(build, rows, [...leading, row, sum]),
    laidOut(build, columns, [...leading, sum, column]),
  ])
  return laidOut(build, { value: product, labels: [...leading, row, column] }, outputLabels)
}

/** A value with its axes in the order of `labels`; those that it lacks are of size 1. */
function laidOut(build: NodeBuilder, { value, labels }: Operand, wanted: readonly string[]): Value {
  const own = wanted.filter((label) => labels.includes(label))
  const perm = own.map((label) => labels.indexOf(label))
  const isInOrder = perm.every((axis, index) => axis === index)
  const turned = isInOrder ? value : build.op('Transpose', [value], { perm })
  // Axes before the first that it has are added by broadcasting.
  const first = wanted.findIndex((label) => labels.includes(label))
  const missing = wanted.flatMap((label, axis) =>
    axis < first || labels.includes(label) ? [] : [axis - first],
  )
  if (missing.length === 0) return turned
  return build.opset >= 13
    ? build.op('Unsqueeze', [turned, build.ints(...missing)])
    : build.op('Unsqueeze', [turned], { axes: missing })
}
