/**
 * VTrans: which heads and neurons go is learned by gradients through noisy masks, on the loss itself;
 * what stays is re-fitted in closed form, or takes its mask's mean in; then means are learned on top.
 */
import type { Batch } from '../../src/data/batch.js'
import { AttncError } from '../../src/errors.js'
import type { Model } from '../../src/graph/graph.js'
import { openProducts } from '../../src/linear-algebra/products.js'
import type { TransformerModel } from '../../src/model/model.js'
import {
  type Findings,
  sensitivityOf,
  type TrainingPoint,
  thinned,
} from '../../src/plan/findings.js'
import type { PlanSlice, RefittedProjection } from '../../src/plan/plan.js'
import type { Ranking } from '../../src/repair/elimination.js'
import { type Choice, findPrunable, type PrunableBlock } from '../../src/repair/prunable.js'
import { repairBlocks } from '../../src/repair/repair.js'
import type { RunOptions } from '../../src/runtime/batches.js'
import { foldMeans } from './fold.js'
import { type LearnedMasks, learnMasks } from './learn.js'
import { sharesOf, type VtransOptions } from './options.js'
import { costOf } from './resource.js'
import { countsOf, type Selection } from './select.js'
import { settleMeans } from './settle.js'

export interface VtransInput extends RunOptions {
  readonly model: Model
  readonly view: TransformerModel
  /** What is re-fitted on. */
  readonly batches: readonly Batch[]
  /** What is learned from, where that is more. */
  readonly training?: readonly Batch[] | undefined
}

export interface VtransDecision {
  readonly slices: readonly PlanSlice[]
  readonly projections: readonly RefittedProjection[]
  /** Cost that goes, and that of everything masks are learned for. */
  readonly removed: number
  readonly prunable: number
  readonly findings: Findings
}

/** Errors: RECOVER_HIDDEN, NOTHING_PRUNABLE, those of learning. */
export async function decideVtrans(
  input: VtransInput,
  options: VtransOptions,
): Promise<VtransDecision> {
  assertRefittable(options)
  const learned = await learnMasks({ ...input, batches: input.training ?? input.batches }, options)
  return decideSelected(input, learned, options)
}

/** What goes by masks that were learned, and what answers for it. */
export async function decideSelected(
  input: VtransInput,
  learned: LearnedMasks,
  options: VtransOptions,
): Promise<VtransDecision> {
  assertRefittable(options)
  const { selected, resource } = learned
  const repaired =
    options.recover === 'ridge'
      ? await refit(input, selected, options)
      : { slices: slicesOf(selected), projections: foldMeans(input.view, learned, selected) }
  const isSettled = options.variant !== 'local' && sharesOf(options).settling > 0
  const teaching = { ...input, batches: input.training ?? input.batches }
  const settled = isSettled ? await settleMeans(teaching, repaired, options) : undefined
  return {
    slices: repaired.slices,
    projections: settled?.projections ?? repaired.projections,
    removed: resource.total - costOf(resource, countsOf(selected)),
    prunable: resource.total,
    findings: findingsOf(learned, settled?.curve ?? []),
  }
}

function assertRefittable({ recover, structures }: VtransOptions): void {
  if (recover === 'ridge' && structures.includes('hidden'))
    throw new AttncError(
      'RECOVER_HIDDEN',
      'usage',
      'The re-fit compares streams of one width, and channels of the stream are to go.',
      { suggestions: ['Leave "hidden" out of the structures, or recover "none".'] },
    )
}

/** Masks give an order; what a unit would cost they don't say. */
function findingsOf(
  { selected, curve = [] }: LearnedMasks,
  settling: readonly TrainingPoint[],
): Findings {
  const own = selected.filter(({ mask }) => !mask.isWhole)
  const after = settling.map((point) => ({ ...point, update: point.update + curve.length }))
  const all = [...curve, ...after]
  return {
    measure: null,
    sensitivity: own.map(({ mask, order }) =>
      sensitivityOf(mask.dimension.id, mask.size, { order, errors: [] }),
    ),
    ...(all.length > 0 && { training: { updates: all.length, curve: thinned(all) } }),
  }
}

/** Members that go, by dimension. */
export const slicesOf = (selected: readonly Selection[]): PlanSlice[] =>
  selected.flatMap(({ mask, kept }) => {
    if (mask.isWhole) return []
    const { id, size, granularity } = mask.dimension
    const stays = new Set(kept)
    const remove = Array.from({ length: size }, (_, member) => member).filter(
      (member) => !stays.has(Math.floor(member / granularity)),
    )
    return remove.length > 0 ? [{ dimension: id, remove }] : []
  })

async function refit(
  input: VtransInput,
  selected: readonly Selection[],
  { ridge }: VtransOptions,
): Promise<Pick<VtransDecision, 'slices' | 'projections'>> {
  const rankings = new Map<Choice, Ranking>()
  const counts = new Map<Choice, number>()
  const blocks = maskedBlocks(input.view, selected)
  for (const block of blocks)
    for (const choice of block.choices) {
      const found = selected.find(({ mask }) => mask.dimension === choice.dimension) as Selection
      rankings.set(choice, { order: found.order, errors: [] })
      counts.set(choice, found.mask.size - found.kept.length)
    }
  await using products = await openProducts(input)
  const allocated = { blocks, rankings, counts, metrics: new Map(), products }
  const options = { ridge, bias: false, correct: true, isRanked: true }
  const { projections } = await repairBlocks(
    { ...input, calibration: new Map() },
    allocated,
    options,
  )
  return { slices: slicesOf(selected), projections }
}

/** Blocks with the choices that masks were learned for. */
const maskedBlocks = (view: TransformerModel, selected: readonly Selection[]): PrunableBlock[] =>
  findPrunable(view).map((block) => ({
    ...block,
    choices: block.choices.filter(
      ({ dimension, frame }) => !frame && selected.some(({ mask }) => mask.dimension === dimension),
    ),
  }))
