/**
 * Carries out a part of a plan on a graph: replaced weights first, re-fitted projections, then the
 * members that go and the pairs that are not attended to, left out or masked. Nothing is decided
 * here, so the same plan gives the same graph every time.
 */

import { maskMembers } from '../axes/mask.js'
import { Removal } from '../axes/removal.js'
import { sliceMembers } from '../axes/slice.js'
import { AttncError } from '../errors.js'
import { edit, type GraphEdit } from '../graph/edit.js'
import type { Graph } from '../graph/graph.js'
import { addToBias } from '../model/bias.js'
import { type Block, feedForwardParts, findBlocks } from '../model/block.js'
import { readModel, type TransformerModel } from '../model/model.js'
import { type Projection, readProjection, toWeight } from '../model/projection.js'
import { type BlockRead, findReads } from '../model/reads.js'
import { columnsOf, shiftUnmixed } from '../model/unmixed.js'
import { findValueFrame, turnSources } from '../model/value-frame.js'
import { toHalfPrecision } from '../quantize/half.js'
import { useIntegers } from '../quantize/integers.js'
import { quantizeWeights } from '../quantize/rewrite.js'
import { lighten } from '../rewrite/lighten.js'
import { rewriteAttention } from '../sparse/rewrite.js'
import { cutVocabulary } from '../vocabulary/cut-vocabulary.js'
import { setConstants } from './constants.js'
import { keepOf } from './keep.js'
import type { PlanPart, RefittedProjection } from './plan.js'

/** How a part of a plan is carried out. */
export interface ApplyOptions {
  readonly as?: 'slice' | 'mask'
  /** A view of the graph as it is now, if the caller has one. */
  readonly view?: TransformerModel
}

/** Errors: those of `keepOf`, WEIGHT_SHAPE, PROJECTION_SHAPE. The graph is unchanged when it throws. */
export function applyPart(graph: Graph, part: PlanPart, options: ApplyOptions = {}): void {
  const view = options.view ?? readModel(graph)
  const keep = keepOf(view, part.slices)
  const removal = new Removal(keep)
  const hasReads = part.projections?.some(({ reads }) => reads)
  const reads = hasReads ? findReads(view) : new Map<string, readonly BlockRead[]>()
  edit(graph, 'attnc.prune', (change) => {
    setConstants(change, part.weights ?? [])
    const blocks = new Map(findBlocks(view).map((block) => [block.key, block]))
    for (const refitted of part.projections ?? []) {
      if (refitted.rows === 0) {
        if (refitted.reads) setReads(change, reads.get(refitted.block) ?? [], refitted)
        shiftBlock(change, view, blocks.get(refitted.block), refitted)
        continue
      }
      const { projection, kept } = placeOf(view, refitted, removal)
      if (refitted.reads) setReads(change, reads.get(refitted.block) ?? [], refitted)
      if (refitted.basis) turnValues(change, view, refitted)
      change.setConstant(projection.weight, scatter(projection, refitted, kept))
      if (refitted.shift) addToBias(change, projection.node, refitted.shift)
    }
    if (options.as === 'mask') maskMembers(change, view.analysis, keep)
    else sliceMembers(change, view.analysis, keep)
    if (part.attention?.length) {
      const now = part.slices.length > 0 ? readModel(graph) : view
      rewriteAttention(change, now, part.attention, options.as ?? 'slice')
    }
    if (part.vocabulary) cutVocabulary(change, view, part.vocabulary, options.as ?? 'slice')
    // Masked, the graph stays what the lighter one is compared with.
    if (part.lighter && options.as !== 'mask') lighten(change)
    if (part.precision) toHalfPrecision(change, options.as ?? 'slice')
    if (part.integers?.length) useIntegers(change, part.integers, options.as ?? 'slice')
    if (part.quantized?.length) quantizeWeights(change, part.quantized, options.as ?? 'slice')
  })
}

/** A block without a projection says the same a little louder, in place of units that go. */
function shiftBlock(
  change: GraphEdit,
  { analysis }: TransformerModel,
  block: Block | undefined,
  refitted: RefittedProjection,
): void {
  const { shift } = refitted
  if (!block?.isUnmixed) throw shapeError(refitted, 'the model has no such block')
  if (shift && shift.length !== columnsOf(block))
    throw shapeError(refitted, `the block writes ${columnsOf(block)} columns`)
  if (shift) shiftUnmixed(change, block, shift, analysis.shapes.dataType(block.input))
}

/** Blocks by the name that plans use. */
function outputProjections(view: TransformerModel): Map<string, Projection> {
  const found = new Map<string, Projection>()
  const add = (key: string, block: TransformerModel['attention'][number]['outputProjection']) => {
    const projection = block && readProjection(block)
    if (projection) found.set(key, projection)
  }
  for (const [index, block] of view.attention.entries())
    add(`attention.${index}`, block.outputProjection)
  for (const { key, part } of feedForwardParts(view)) add(key, part.outputProjection)
  return found
}

function turnValues(change: GraphEdit, view: TransformerModel, refitted: RefittedProjection): void {
  const block = view.attention.find((_, index) => `attention.${index}` === refitted.block)
  const frame = block && findValueFrame(view, block)
  const { heads, size, numbers } = refitted.basis ?? { heads: 0, size: 0, numbers: [] }
  if (!frame || frame.heads !== heads || frame.size !== size)
    throw shapeError(
      refitted,
      frame
        ? `the model has ${frame.heads} heads of ${frame.size} values`
        : 'the basis of its values is not free',
    )
  turnSources(change, frame, Float64Array.from(numbers))
}

function setReads(change: GraphEdit, own: readonly BlockRead[], refitted: RefittedProjection) {
  const reads = own.flatMap(({ projections }) => projections)
  for (const { index, weight } of refitted.reads ?? []) {
    const projection = reads[index]
    if (projection?.rows !== weight.length / (projection?.columns ?? 1))
      throw shapeError(
        refitted,
        projection
          ? `weight ${index} that it reads the stream through has ${projection.rows} × ${projection.columns}`
          : `it reads the stream through ${reads.length} weights, the plan has number ${index}`,
      )
    change.setConstant(projection.weight, toWeight(projection, weight))
  }
}

function placeOf(view: TransformerModel, refitted: RefittedProjection, removal: Removal) {
  const projection = outputProjections(view).get(refitted.block)
  if (!projection) throw shapeError(refitted, 'the model has no such projection')
  const kept =
    removal.kept(projection.inputs) ?? Array.from({ length: projection.rows }, (_, i) => i)
  if (kept.length !== refitted.rows || projection.columns !== refitted.columns)
    throw shapeError(refitted, `the model needs ${kept.length} × ${projection.columns}`)
  return { projection, kept }
}

/** All rows of the projection; those that go are zero. */
function scatter(projection: Projection, refitted: RefittedProjection, kept: readonly number[]) {
  const { columns, rows } = projection
  const full = new Float32Array(rows * columns)
  for (const [from, to] of kept.entries())
    full.set(refitted.weight.subarray(from * columns, (from + 1) * columns), to * columns)
  return toWeight(projection, full)
}

const shapeError = (refitted: RefittedProjection, text: string): AttncError =>
  new AttncError(
    'PROJECTION_SHAPE',
    'usage',
    `The plan re-fits "${refitted.block}" with ${refitted.rows} × ${refitted.columns} numbers; ${text}.`,
    { suggestions: ['Use the plan with the model that it was made for.'] },
  )
