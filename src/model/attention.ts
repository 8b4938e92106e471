/**
 * Attention, read from the axes: a softmax over the keys of a product of queries and keys, whose
 * result is contracted with values over the same keys. Fused operators say it themselves.
 * Nothing here looks at names, exporters or families.
 */
import type { AxisAnalysis, Contraction } from '../axes/analysis.js'
import { type Axis, leavesOf, sharesLeaf } from '../axes/axis.js'
import { isFusedAttention } from '../axes/rules/attention.js'
import type { Node, Value } from '../graph/graph.js'
import { isCross } from './cross-attention.js'
import { isProjection } from './projection.js'
import { dependsOn, downstream, isMeasure, isSoftmax, isTransparent, upstream } from './trace.js'

export interface AttentionBlock {
  /** The softmax, or the fused operator. */
  readonly node: Node
  readonly kind: 'self' | 'cross'
  readonly heads: number
  readonly keyValueHeads: number
  readonly headSize: number
  readonly valueHeadSize: number
  /** Leaves of the axis of key-value heads, of query heads per key-value head, and of the head sizes. */
  readonly keyValueHeadAxes: readonly Axis[]
  readonly groupAxes: readonly Axis[]
  readonly headSizeAxis: Axis | undefined
  readonly valueHeadSizeAxis: Axis | undefined
  /** What the keys are made from, after projection. */
  readonly keys: Value
  /** Scores before the softmax's mask; undefined where a fused operator hides them. */
  readonly scores: Value | undefined
  readonly probabilities: Value | undefined
  /** What the heads say, before the output projection. */
  readonly context: Value
  /** The product with a constant that takes the context back to the hidden width, if there is one. */
  readonly outputProjection: Contraction | undefined
}

export function findAttention(analysis: AxisAnalysis): AttentionBlock[] {
  const byNode = new Map(analysis.contractions.map((each) => [each.node, each]))
  const positions = valuesOfSizes(analysis)
  const blocks: AttentionBlock[] = []
  for (const node of analysis.graph.nodes()) {
    const block = isFusedAttention(node)
      ? readFused(analysis, byNode, positions, node)
      : isSoftmax(node)
        ? readSoftmax(analysis, byNode, positions, node)
        : undefined
    if (block) blocks.push(block)
  }
  return blocks
}

/** Values that depend on constants and on the sizes of inputs alone: positions. */
function valuesOfSizes(analysis: AxisAnalysis): Set<Value> {
  const found = new Set<Value>()
  for (const node of analysis.graph.nodes()) {
    const isOfSizes = node.inputs.every(
      (input) => !input || analysis.isConstant(input) || found.has(input),
    )
    if (isOfSizes || isMeasure(node))
      for (const output of node.outputs) if (output) found.add(output)
  }
  for (const value of analysis.graph.values.values())
    if (analysis.isConstant(value)) found.add(value)
  return found
}

function readSoftmax(
  analysis: AxisAnalysis,
  byNode: ReadonlyMap<Node, Contraction>,
  positions: ReadonlySet<Value>,
  node: Node,
): AttentionBlock | undefined {
  const [logits] = node.inputs
  const [probabilities] = node.outputs
  if (!logits || !probabilities) return undefined
  const keys = softmaxLeaves(analysis, node)
  const product = findContext(analysis, byNode, probabilities, keys)
  const scores = product && findScores(analysis, byNode, positions, logits, keys)
  if (!product || !scores) return undefined
  const context = product.node.outputs[0] as Value
  const scoreValue = scores.node.outputs[0] as Value
  const values = product.operands.find((o) => !isFrom(product.node.inputs[o.input], probabilities))
  const valueInput = values && product.node.inputs[values.input]
  const [queries, keyInput] = splitOperands(analysis, scores, keys)
  if (!valueInput || !queries || !keyInput) return undefined
  const data = dataLeaves(analysis, byNode, queries)
  const weighing = product.operands.find((each) => each !== values)
  const weights = (weighing && product.node.inputs[weighing.input]) ?? scoreValue
  const channels = readChannels(analysis, scores, logits, keys)
  for (const leaf of channels ? leavesOf(channels.valueHeadSizeAxis) : []) data.add(leaf)
  const shape = readShape(analysis, weights, keyInput, valueInput, context, keys, data)
  return {
    node,
    kind: isCross(analysis, byNode, positions, queries, keyInput) ? 'cross' : 'self',
    ...shape,
    headSize: scores.operands[0]?.what.size.value ?? 0,
    headSizeAxis: scores.operands[0]?.what,
    ...channels,
    keys: keyInput,
    scores: scoreValue,
    probabilities,
    context,
    outputProjection: findOutputProjection(analysis, byNode, context, shape),
  }
}

function softmaxLeaves(analysis: AxisAnalysis, node: Node): Set<Axis> {
  const axes = (node.inputs[0] && analysis.axes(node.inputs[0])) ?? []
  const stated = node.attributes.get('axis')
  const axis = stated?.kind === 'int' ? Number(stated.value) : -1
  // Past the rank in a damaged model: then nothing is known to be a key.
  const keys = axes.at(axis < 0 ? axis : axis - axes.length)
  return new Set(keys ? leavesOf(keys) : [])
}

/** The product that sums values over the keys, weighted by the softmax. */
function findContext(
  analysis: AxisAnalysis,
  byNode: ReadonlyMap<Node, Contraction>,
  probabilities: Value,
  keys: ReadonlySet<Axis>,
): Contraction | undefined {
  for (const { node, index } of downstream(probabilities)) {
    const contraction = byNode.get(node)
    if (!contraction || contraction.operands.length < 2) continue
    const operand = contraction.operands.find((each) => each.input === index)
    const other = contraction.operands.find((each) => each.input !== index)
    const value = other && node.inputs[other.input]
    if (!operand || !value) continue
    if (!analysis.isConstant(value)) {
      if (isAlong(operand.what, keys)) return contraction
    } else if (node.outputs[0] && sharesLeaf(operand.what, headsOf(analysis, probabilities))) {
      // Heads that are mixed once more before they weigh the values.
      const mixed = findContext(analysis, byNode, node.outputs[0], keys)
      if (mixed) return mixed
    }
  }
  return undefined
}

/** Leaves of all axes of scores or probabilities but the last two. */
const headsOf = (analysis: AxisAnalysis, value: Value): Set<Axis> =>
  new Set((analysis.axes(value) ?? []).slice(0, -2).flatMap(leavesOf))

/** Whether an axis is the keys', which may be a single one. */
const isAlong = (axis: Axis, keys: ReadonlySet<Axis>): boolean =>
  sharesLeaf(axis, keys) || (axis.size.isOne && isSingle(keys))

const isSingle = (keys: ReadonlySet<Axis>): boolean =>
  keys.size === 1 && [...keys].every(({ size }) => size.isOne)

/** The product of queries and keys: the keys' axis comes from something that is not a constant. */
function findScores(
  analysis: AxisAnalysis,
  byNode: ReadonlyMap<Node, Contraction>,
  positions: ReadonlySet<Value>,
  logits: Value,
  keys: ReadonlySet<Axis>,
): Contraction | undefined {
  let learned: Contraction | undefined
  for (const node of upstream(logits)) {
    const contraction = byNode.get(node)
    if (!contraction) continue
    const [queries, keyInput] = splitOperands(analysis, contraction, keys)
    const isOfData = [queries, keyInput].every((each) => each && !positions.has(each))
    if (isOfData) return contraction
    if (keyInput) learned ??= contraction
    const mixed = findMixedScores(analysis, byNode, contraction, logits, keys)
    if (mixed) return mixed
  }
  return learned
}

/** Scores behind a product with a constant that mixes the heads of all pairs alike. */
function findMixedScores(
  analysis: AxisAnalysis,
  byNode: ReadonlyMap<Node, Contraction>,
  mixer: Contraction,
  logits: Value,
  keys: ReadonlySet<Axis>,
): Contraction | undefined {
  const output = mixer.node.outputs[0]
  const operand = mixer.operands.find(({ input }) => {
    const value = mixer.node.inputs[input]
    return value && !analysis.isConstant(value)
  })
  const mixed = operand && mixer.node.inputs[operand.input]
  if (!mixed || !output || !isProjection(analysis, mixer)) return undefined
  const heads = headsOf(analysis, logits)
  if (!(analysis.axes(output) ?? []).some((axis) => !axis.size.isOne && sharesLeaf(axis, heads)))
    return undefined
  for (const node of upstream(mixed)) {
    const scores = byNode.get(node)
    const result = node.outputs[0]
    if (!scores || !result || !splitOperands(analysis, scores, keys)[1]) continue
    if (sharesLeaf(operand.what, headsOf(analysis, result))) return scores
  }
  return undefined
}

/** Queries and keys of a product: keys are the activation that has the softmax's axis free. */
function splitOperands(
  analysis: AxisAnalysis,
  contraction: Contraction,
  keys: ReadonlySet<Axis>,
): [queries: Value | undefined, keys: Value | undefined] {
  if (contraction.operands.length !== 2) return [undefined, undefined]
  const candidates = contraction.operands.toReversed().flatMap((operand) => {
    const value = contraction.node.inputs[operand.input]
    const axes = (value && analysis.axes(value)) ?? []
    const free = axes.filter((_, index) => index !== operand.axis)
    const has = isSingle(keys)
      ? axes.length > 2 && free.at(-1)?.size.isOne
      : free.some((axis) => !axis.size.isOne && sharesLeaf(axis, keys))
    return value && has && !analysis.isConstant(value) ? [operand] : []
  })
  const [keyOperand] = candidates
  const other = contraction.operands.find((operand) => operand !== keyOperand)
  if (!keyOperand || !other) return [undefined, undefined]
  return [contraction.node.inputs[other.input], contraction.node.inputs[keyOperand.input]]
}

const isFrom = (value: Value | undefined, source: Value): boolean =>
  value === source || (value !== undefined && dependsOn(value, source))

interface Channels {
  readonly headSizeAxis: Axis
  readonly valueHeadSizeAxis: Axis
}

/**
 * The size of a head is what queries and keys are summed over. Where that is the tokens, a head attends
 * among its channels: those of the keys are the softmax's, those of the queries come out again.
 */
function readChannels(
  analysis: AxisAnalysis,
  scores: Contraction,
  logits: Value,
  keys: ReadonlySet<Axis>,
): (Pick<AttentionBlock, 'headSize' | 'valueHeadSize'> & Channels) | undefined {
  const summed = scores.operands[0]?.what
  const isLearned = (axis: Axis): boolean =>
    leavesOf(axis).some((leaf) => leaf.marks.has('projected'))
  const last = (analysis.axes(logits) ?? []).slice(-2)
  const channels = last.find((axis) => leavesOf(axis).every((leaf) => keys.has(leaf)))
  const rows = last.find((axis) => axis !== channels)
  if (!channels || !rows || !summed || isLearned(summed) || !isLearned(channels)) return undefined
  return {
    headSize: channels.size.value ?? 0,
    headSizeAxis: channels,
    valueHeadSize: rows.size.value ?? 0,
    valueHeadSizeAxis: rows,
  }
}

type Shape = Pick<
  AttentionBlock,
  | 'heads'
  | 'keyValueHeads'
  | 'valueHeadSize'
  | 'keyValueHeadAxes'
  | 'groupAxes'
  | 'valueHeadSizeAxis'
>

/**
 * Heads are the batch axes of what weighs the values that projections make; the rest of the batch is
 * data. Where heads are mixed before, those of the values may be others than those of the keys.
 */
function readShape(
  analysis: AxisAnalysis,
  weights: Value,
  keyInput: Value,
  valueInput: Value,
  context: Value,
  keys: ReadonlySet<Axis>,
  data: ReadonlySet<Axis>,
): Shape {
  const scoreLeaves = (analysis.axes(weights) ?? []).flatMap(leavesOf)
  const contextAxes = analysis.axes(context) ?? []
  const contextLeaves = new Set(contextAxes.flatMap(leavesOf))
  const headLeaves = [...new Set(scoreLeaves)].filter(
    (leaf) =>
      leaf.marks.has('projected') &&
      !keys.has(leaf) &&
      !data.has(leaf) &&
      leaf.size.value !== undefined &&
      contextLeaves.has(leaf),
  )
  const valueAxes = analysis.axes(valueInput) ?? []
  const ofKeys = headLeaves.filter((leaf) => isOriginal(analysis, keyInput, leaf))
  const keyValueHeadAxes =
    ofKeys.length > 0 ? ofKeys : headLeaves.filter((leaf) => isOriginal(analysis, valueInput, leaf))
  const groupAxes = headLeaves.filter((leaf) => !keyValueHeadAxes.includes(leaf))
  const scoreSet = new Set(scoreLeaves)
  const valueHeadSizeAxis = valueAxes.findLast(
    (axis) => !axis.size.isOne && !sharesLeaf(axis, scoreSet) && !sharesLeaf(axis, keys),
  )
  return {
    heads: sizeOfAll(headLeaves),
    keyValueHeads: sizeOfAll(keyValueHeadAxes),
    valueHeadSize: valueHeadSizeAxis?.size.value ?? 1,
    keyValueHeadAxes,
    groupAxes,
    valueHeadSizeAxis,
  }
}

/** What queries have before they are projected, such as windows of an image: no heads. */
function dataLeaves(
  analysis: AxisAnalysis,
  byNode: ReadonlyMap<Node, Contraction>,
  queries: Value,
): Set<Axis> {
  for (const node of upstream(queries)) {
    const contraction = byNode.get(node)
    if (!contraction || !isProjection(analysis, contraction)) continue
    const [open, fixed] = [false, true].map((isWeight) =>
      node.inputs.flatMap((input) =>
        input && analysis.isConstant(input) === isWeight ? (analysis.axes(input) ?? []) : [],
      ),
    )
    const weights = new Set((fixed ?? []).flatMap(leavesOf))
    return new Set((open ?? []).flatMap(leavesOf).filter((leaf) => !weights.has(leaf)))
  }
  return new Set()
}

/** Whether a leaf of a value comes from where the value is projected or fed, not from a repetition. */
function isOriginal(analysis: AxisAnalysis, value: Value, leaf: Axis): boolean {
  const has = (each: Value): boolean =>
    (analysis.axes(each) ?? []).some((axis) => leavesOf(axis).includes(leaf))
  const seen = new Set<Value>()
  const queue = [value].filter(has)
  for (let at = 0; at < queue.length; at++) {
    const node = queue[at]?.producer
    if (!node || !isTransparent(node)) return true
    // Put together from single members that were taken apart before.
    if (node.op === 'Concat' && !node.inputs.some((input) => input && has(input))) return true
    for (const input of node.inputs) {
      if (!input || seen.has(input) || !has(input)) continue
      seen.add(input)
      queue.push(input)
    }
  }
  return false
}

const sizeOfAll = (axes: readonly Axis[]): number =>
  axes.reduce((product, axis) => product * (axis.size.value ?? 1), 1)

/** The product with a constant that contracts heads and value head size. */
function findOutputProjection(
  analysis: AxisAnalysis,
  byNode: ReadonlyMap<Node, Contraction>,
  context: Value,
  shape: Pick<AttentionBlock, 'keyValueHeadAxes' | 'groupAxes' | 'valueHeadSizeAxis'>,
): Contraction | undefined {
  const wanted = new Set([
    ...shape.keyValueHeadAxes,
    ...shape.groupAxes,
    ...(shape.valueHeadSizeAxis ? leavesOf(shape.valueHeadSizeAxis) : []),
  ])
  for (const { node } of downstream(context, isTransparentOrNorm)) {
    const contraction = byNode.get(node)
    if (
      contraction &&
      isProjection(analysis, contraction) &&
      contraction.operands.some(({ what }) => sharesLeaf(what, wanted))
    )
      return contraction
  }
  return undefined
}

const isTransparentOrNorm = (node: Node): boolean =>
  !['MatMul', 'Gemm', 'Einsum', 'Conv', 'MatMulInteger', 'MatMulNBits', 'Softmax'].includes(node.op)

function readFused(
  analysis: AxisAnalysis,
  byNode: ReadonlyMap<Node, Contraction>,
  positions: ReadonlySet<Value>,
  node: Node,
): AttentionBlock | undefined {
  const recorded = analysis.recorded.get(node)
  const context = node.outputs[0]
  const { keyValueHeads, groups, headSize, valueHeadSize } = recorded ?? {}
  if (!context || !keyValueHeads || !groups || !headSize || !valueHeadSize) return undefined
  const [query, key] = node.inputs
  const isOneInput = node.op === 'Attention' && node.domain !== ''
  const all = [...leavesOf(keyValueHeads), ...leavesOf(groups)].filter((leaf) => !leaf.size.isOne)
  const keyValueHeadAxes = all.filter((leaf) =>
    key && !isOneInput ? isOriginal(analysis, key, leaf) : leavesOf(keyValueHeads).includes(leaf),
  )
  const groupAxes = all.filter((leaf) => !keyValueHeadAxes.includes(leaf))
  const shape = {
    keyValueHeadAxes,
    groupAxes,
    valueHeadSizeAxis: valueHeadSize,
  }
  return {
    node,
    kind:
      !isOneInput && query && key && isCross(analysis, byNode, positions, query, key)
        ? 'cross'
        : 'self',
    heads: sizeOfAll(all),
    keyValueHeads: sizeOfAll(keyValueHeadAxes),
    headSize: headSize.size.value ?? 0,
    valueHeadSize: valueHeadSize.size.value ?? 0,
    ...shape,
    headSizeAxis: headSize,
    keys: (isOneInput ? query : (key ?? query)) as Value,
    scores: undefined,
    probabilities: undefined,
    context,
    outputProjection: findOutputProjection(analysis, byNode, context, shape),
  }
}
