/**
 * Blocks as the residual stream sees them: a value made inside, a projection that writes it back, the
 * place where it joins the stream. What calibration watches and what a re-fit changes.
 */
import type { Contraction } from '../axes/analysis.js'
import { type Axis, leavesOf } from '../axes/axis.js'
import { productOf } from '../axes/unify.js'
import type { Node, Value } from '../graph/graph.js'
import { joinOf } from './branch-join.js'
import { kernelOf } from './kernel-matrix.js'
import type { TransformerModel } from './model.js'
import type { Expert, ModelDimension } from './model-dimension.js'
import {
  overPlaces,
  type Projection,
  readProjection,
  readStacked,
  type StackedWeight,
} from './projection.js'

/** An integer input [batch, sequence] whose tokens some rows are. */
export interface TokenRows {
  readonly input: string
  /** Whether it is the model's first such input: others are a decoder's, of a length of their own. */
  readonly isFirst: boolean
  /** Rows [batch · sequence, n] rather than [batch, sequence, n]. */
  readonly isFlat: boolean
}

export interface Block {
  /**
   * `attention.3`, `feedForward.3`: position in the order of execution. The name in plans. Experts of a
   * mixture after its first are `feedForward.3.1` and so on.
   */
  readonly key: string
  readonly kind: 'attention' | 'feedForward'
  readonly layer: number
  /** One of a mixture: its rows are the tokens that were sent to it, others after each change before it. */
  readonly isExpert: boolean
  readonly dimension: ModelDimension | undefined
  readonly contraction: Contraction
  /** undefined where the weight is not a plain matrix of its own. */
  readonly projection: Projection | undefined
  /** Set where the weight is one of several experts at once. */
  readonly stacked: StackedWeight | undefined
  /**
   * What the projection reads: [..., n], or [batch, n, ...] with a `turn`. Where heads are summed
   * as they are, n is spread over several axes.
   */
  readonly input: Value
  readonly width: number
  /** Where the width comes before positions, as in a convolution: the order of axes that puts it last. */
  readonly turn: readonly number[] | undefined
  /** The convolution that reads several positions at once: n is then of all that it sees of `input` (`unfold`). */
  readonly unfolded: Node | undefined
  /** The last axes of `input` as one, and their sizes. */
  readonly inputs: Axis
  readonly sizes: readonly number[]
  /** Whether no weight mixes what units say: they lie beside each other in the stream, or over each other in a mean. */
  readonly isUnmixed: boolean
  /** All products that read `input`. */
  readonly readers: readonly Node[]
  /** What the projection writes, before any bias: [..., D]. */
  readonly output: Value
  /** The stream after the block, [..., D]; undefined where its rows are not those of `input`. */
  readonly stream: Value | undefined
  /** The stream after the block, whichever rows it has: windows, or tokens that went to several experts. */
  readonly joined: Value | undefined
  /** Whose tokens the rows of `input` are, where each is one. */
  readonly tokens: TokenRows | undefined
}

/** Attention and feed-forward blocks with an output projection, in order of execution. */
export function findBlocks(view: TransformerModel): Block[] {
  const readers = readersOf(view)
  const parts = [...attentionParts(view), ...ownFeedForwards(view)]
  const blocks = parts.flatMap((part) => readBlock(view, part, readers) ?? [])
  const order = new Map([...view.graph.nodes()].map((node, index) => [node, index]))
  return blocks.sort(
    (a, b) => (order.get(a.contraction.node) ?? 0) - (order.get(b.contraction.node) ?? 0),
  )
}

/** What a block is read from. */
interface BlockPart extends Pick<Block, 'key' | 'kind' | 'layer' | 'dimension' | 'isExpert'> {
  readonly contraction: Contraction | undefined
  /** Where what the projection writes joins the stream. */
  joinAt(output: Value): Node | undefined
}

const attentionParts = (view: TransformerModel): BlockPart[] =>
  view.attention.map(({ layer, dimension, outputProjection, context }, index) => ({
    key: `attention.${index}`,
    kind: 'attention',
    layer,
    dimension,
    isExpert: false,
    contraction: outputProjection,
    joinAt: (output) => joinOf(view.analysis, output, context),
  }))

/** A width that shares its product with heads is of their block. */
function ownFeedForwards(view: TransformerModel): BlockPart[] {
  const shared = new Set(view.attention.map(({ outputProjection }) => outputProjection))
  return feedForwardParts(view)
    .filter(({ part }) => !shared.has(part.outputProjection))
    .map(({ key, layer, part, isExpert }) => ({
      key,
      kind: 'feedForward',
      layer,
      dimension: part.dimension,
      isExpert,
      contraction: part.outputProjection,
      joinAt: () => part.join,
    }))
}

/** All products that read a value. */
function readersOf(view: TransformerModel): ReadonlyMap<Value, readonly Node[]> {
  const readers = new Map<Value, Node[]>()
  for (const { node, operands } of view.analysis.contractions)
    for (const { input } of operands) {
      const value = node.inputs[input]
      if (value) readers.set(value, [...(readers.get(value) ?? []), node])
    }
  return readers
}

function readBlock(
  view: TransformerModel,
  { contraction, joinAt, ...part }: BlockPart,
  readers: ReadonlyMap<Value, readonly Node[]>,
): Block | undefined {
  const operand = contraction?.operands[0]
  const input = operand && contraction.node.inputs[operand.input]
  const output = contraction?.node.outputs[0]
  if (!contraction || !input || !output) return undefined
  const axes = view.analysis.axes(input) ?? []
  // Heads that are laid over each other: each has all that is behind its axis.
  const tail = contraction.share === undefined ? [operand.what] : axes.slice(operand.axis)
  const kernel = kernelOf(contraction.node)
  const inputs = overPlaces(productOf(tail), kernel?.places ?? 1)
  const width = inputs.size.value
  if (!width) return undefined
  const turn = kernel && lastOf(operand.axis, axes.length)
  const isLast = axes.at(-1) === operand.what || endsWith(view, input, width)
  if (tail.length === 1 && !turn && !isLast) return undefined
  const written = view.analysis.axes(output)
  const rows = turn ? turn.flatMap((axis) => written?.[axis] ?? []) : axes
  const columns = written?.[1]
  const outputs = (joinAt(output)?.outputs ?? []).filter(
    (each) => each && (!turn || view.analysis.axes(each)?.at(-1)?.root === columns?.root),
  )
  const projection = readProjection(contraction, view.analysis.copies)
  return {
    ...part,
    contraction,
    projection,
    stacked: projection ? undefined : readStacked(view.analysis, contraction),
    input,
    width,
    turn,
    unfolded: kernel?.isPointwise === false ? contraction.node : undefined,
    inputs,
    sizes: tail.map(({ size }) => size.value ?? 1),
    isUnmixed: contraction.share !== undefined || view.analysis.seams.has(input),
    readers: readers.get(input) ?? [],
    output,
    // What an expert says is weighed before it joins: the stream doesn't lack what its weight lacks.
    stream: part.isExpert
      ? undefined
      : outputs.find((each) => each && isSameRows(view, each, rows)),
    joined: outputs[0],
    tokens: tokensOfRows(view, rows),
  }
}

/** Feed-forwards by key, the experts of a mixture one by one. */
export const feedForwardParts = (view: TransformerModel) =>
  view.feedForward.flatMap((first, index) =>
    [first, ...first.others].map((part: Expert, expert) => ({
      key: expert === 0 ? `feedForward.${index}` : `feedForward.${index}.${expert}`,
      layer: first.layer,
      part,
      isExpert: first.mixture !== undefined,
    })),
  )

const endsWith = (view: TransformerModel, value: Value, width: number): boolean =>
  view.analysis.axes(value)?.at(-1)?.size.value === width

/** One of so many axes behind the others. */
const lastOf = (axis: number, rank: number): number[] => [
  ...Array.from({ length: rank }, (_, each) => each).filter((each) => each !== axis),
  axis,
]

/** Whether a value's axes differ from others in the last one only. */
function isSameRows(view: TransformerModel, value: Value, b: readonly Axis[]): boolean {
  const a = view.analysis.axes(value)
  if (a?.length !== b.length) return false
  return a.slice(0, -1).every((axis, index) => axis.size.equals(b[index]?.size ?? axis.size))
}

/** The input of tokens whose batch and sequence are a value's leading axes, apart or as one. */
export const tokensOf = (view: TransformerModel, value: Value): TokenRows | undefined =>
  tokensOfRows(view, view.analysis.axes(value) ?? [])

function tokensOfRows(view: TransformerModel, axes: readonly Axis[]): TokenRows | undefined {
  const rows = axes.slice(0, -1).flatMap(leavesOf)
  if (axes.length > 3 || axes.length < 2) return undefined
  const inputs = view.graph.inputs.filter(
    ({ type }) => type?.dims?.length === 2 && type.dataType?.startsWith('int'),
  )
  const isSame = (one: readonly Axis[], other: readonly Axis[]): boolean =>
    one.length === other.length && one.every((axis, index) => axis === other[index])
  const leading = (input: Value): Axis[] => (view.analysis.axes(input) ?? []).flatMap(leavesOf)
  const [first] = inputs
  const input = inputs.find((each) => isSame(leading(each), rows))
  if (!input || !first) return undefined
  const isFirst = isSame(leading(first), rows)
  return { input: input.name, isFirst, isFlat: axes.length === 2 }
}
