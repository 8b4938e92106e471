/**
 * Rows of a batch that are several axes: windows of images, rows of alignments. Attention over blocks has
 * them in one axis, so a mask that is one for some of them and has others apart is spread over all.
 */
import { type Axis, leavesOf } from '../axes/axis.js'
import type { Value } from '../graph/graph.js'
import type { TransformerModel } from '../model/model.js'
import type { LayeredAttention } from '../model/model-dimension.js'
import type { NodeBuilder } from '../node-builder/node-builder.js'
import { areTold, sizesOf as writeSizes } from '../node-builder/sizes.js'
import { Size } from '../shape/symbolic.js'
import type { Mask } from './read.js'
import { Unreadable } from './unreadable.js'

/** The axes before queries and keys: of the scores, and of a mask where it has them. */
export function readRows(view: TransformerModel, block: LayeredAttention, { value, scores }: Mask) {
  const own = new Set([...block.keyValueHeadAxes, ...block.groupAxes])
  const all = view.analysis.axes(scores) ?? []
  const axes: readonly (Axis | undefined)[] = view.analysis.axes(value) ?? []
  const rank = all.length || 4
  const missing = Math.max(rank - axes.length, 0)
  const leading = [...Array.from({ length: missing }, () => undefined), ...axes].slice(0, -2)
  const isHead = (axis: Axis | undefined): boolean =>
    axis !== undefined && leavesOf(axis).some((leaf) => own.has(leaf))
  return { rows: all.slice(0, -2), leading, rank, missing, isHead }
}

/**
 * Whether a mask is one for some rows of the batch and has others apart: for each window of every
 * image, each row of every alignment.
 */
function isOfSomeRows(view: TransformerModel, block: LayeredAttention, mask: Mask): boolean {
  const { rows, leading, isHead } = readRows(view, block, mask)
  const has = rows.flatMap((axis, index) =>
    axis.size.isOne || isHead(axis) ? [] : [leading[index]?.size.isOne === false],
  )
  return new Set(has).size > 1
}

/** Sizes that the mask is spread to: the rows of the scores, 1 for heads, queries and keys. */
function sizesOfRows(view: TransformerModel, block: LayeredAttention, mask: Mask): Size[] {
  const { rows, isHead } = readRows(view, block, mask)
  const one = Size.of(1)
  return [...rows.map((axis) => (isHead(axis) ? one : axis.size)), one, one]
}

/**
 * Whether a mask is added where queries and keys are several axes each: rows and columns of an image, as relative
 * positions along both are.
 */
export function isApart(
  view: TransformerModel,
  block: LayeredAttention,
  { scores }: Mask,
): boolean {
  const [own, there] = [block.scores, scores].map((each) =>
    ((each && view.analysis.axes(each)) ?? []).slice(-2),
  )
  return !own?.every((axis, index) => there?.[index]?.size.equals(axis.size))
}

/** Why a mask can't be laid out for attention that has all rows in one axis. */
export function checkRows(view: TransformerModel, block: LayeredAttention, mask: Mask): void {
  const isSplit = isApart(view, block, mask)
  if (!isSplit && !isOfSomeRows(view, block, mask)) return
  const sizes = isSplit ? sizesOf(view, mask.scores) : sizesOfRows(view, block, mask)
  if (!areTold(view.graph, view.analysis.shapes, sizes))
    throw new Unreadable(
      `a mask is of scores [${sizesOf(view, mask.scores).join(', ')}], whose sizes the inputs don’t tell`,
    )
}

const sizesOf = (view: TransformerModel, value: Value): Size[] =>
  (view.analysis.axes(value) ?? []).map(({ size }) => size)

/** A mask of all scores as they lie where it is added. */
export function overScores(
  build: NodeBuilder,
  view: TransformerModel,
  mask: Mask,
  bias: Value,
): Value {
  const shape = writeSizes(build, sizesOf(view, mask.scores))
  if (!shape) throw new Unreadable('a mask is of scores of unknown sizes')
  return build.op('Expand', [bias, shape])
}

/** A mask of some rows, for all of them. */
export function overRows(
  build: NodeBuilder,
  view: TransformerModel,
  block: LayeredAttention,
  mask: Mask,
  bias: Value,
): Value {
  if (!isOfSomeRows(view, block, mask)) return bias
  const shape = writeSizes(build, sizesOfRows(view, block, mask))
  if (!shape) throw new Unreadable('a mask differs between rows of the batch')
  return build.op('Expand', [bias, shape])
}
