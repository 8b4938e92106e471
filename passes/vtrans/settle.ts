/**
 * What is settled after the choice: on the model as it was cut and re-fitted, every unit that stays is
 * multiplied by a mean that is learned on the loss, without noise, and taken into the projections. The
 * re-fit repairs the stream by all numbers of the projections; the means know what the answer needs.
 */

import type { Batch } from '../../src/data/batch.js'
import { fitsInto } from '../../src/data/fits-into.js'
import { extractSubgraph } from '../../src/graph/extract.js'
import { findBlocks } from '../../src/model/block.js'
import { readModel, type TransformerModel } from '../../src/model/model.js'
import { applyPart } from '../../src/plan/apply.js'
import type { TrainingPoint } from '../../src/plan/findings.js'
import type { RefittedProjection } from '../../src/plan/plan.js'
import { shareOfRate } from '../../src/train/optimizer.js'
import { foldMeans } from './fold.js'
import type { LearnInput } from './input.js'
import { type Cut, lossOf } from './judge.js'
import { MaskRun } from './mask-run.js'
import { findMasks, type MaskSet } from './masks.js'
import { sharesOf, type VtransOptions } from './options.js'
import { parametersOf } from './resource.js'
import { findUnheard } from './unheard.js'

export interface SettleInput extends LearnInput {
  readonly heldOut?: readonly Batch[] | undefined
}

export interface Settled {
  readonly projections: NonNullable<Cut['projections']>
  readonly curve: readonly TrainingPoint[]
  /** Held-out loss of the re-fit alone, and with the means that are kept; undefined where nothing was held out. */
  readonly before: number | undefined
  readonly best: number | undefined
  /** Updates after which the means were taken; 0: none are. */
  readonly kept: number
}

/** How often the means are looked at. */
const looks = 4

/**
 * `model` of the input is whole and teaches; `cut` is what it loses. Means stay as they were when held-out data
 * liked them best, or go if it never did; without such data, as they are in the end. Errors: those of learning.
 */
export async function settleMeans(
  input: SettleInput,
  cut: Cut,
  options: VtransOptions,
): Promise<Settled> {
  const { heldOut } = input
  const judge = heldOut && ((each: Cut) => lossOf({ ...input, heldOut }, each, options))
  const before = await judge?.(cut)
  let best: Settled = {
    projections: cut.projections ?? [],
    curve: [],
    before,
    best: before,
    kept: 0,
  }
  const { settling: updates } = sharesOf(options)
  const structures = options.structures.filter((each) => each === 'heads' || each === 'width')
  if (structures.length === 0 || updates === 0) return best
  const model = extractSubgraph(input.model.graph, new Map(), [...input.model.graph.outputs])
  applyPart(model.graph, cut)
  if (!input.batches.every((batch) => fitsInto(model, batch))) {
    input.log.info('No means are learned: the data fill caches of heads that went.')
    return best
  }
  const view = readModel(model.graph)
  const whole = readModel(input.model.graph)
  const keys = keysInWhole(whole, view)
  const { able, others } = foldable(whole, view, keys)
  if (able.length === 0) return best
  const own = { ...options, structures, protect: [...options.protect, ...others] }
  const unheard = findUnheard({ ...input, model, view }, options)
  const set = findMasks(view, { ...own, protect: [...own.protect, ...unheard] })
  const ones = new Float32Array(set.size).fill(1)
  const resources = [parametersOf(view, set.masks)]
  const given = {
    model,
    teacher: input.model,
    set,
    resources,
    initial: ones,
    settled: ones,
    updates,
  }
  await using run = await MaskRun.open({ ...input, ...given, what: 'learning means' }, own)
  const every = Math.ceil(updates / looks)
  for (let at = 1; at <= updates; at++) {
    const isLook = at === updates || (judge !== undefined && at % every === 0)
    await run.update(options.settlingRate * shareOfRate('linear', at - 1, updates, 0), {}, isLook)
    if (!isLook) continue
    const projections = withMeans(view, keys, set, run.masks, cut)
    const loss = await judge?.({ ...cut, projections })
    if (loss !== undefined) run.note(loss)
    if (loss === undefined || loss < (best.best ?? Number.POSITIVE_INFINITY))
      best = { ...best, projections, best: loss, kept: at }
  }
  return { ...best, curve: run.curve }
}

/**
 * What blocks of the cut model are called in the whole one: one that keeps a single member is no block any more, and
 * those behind it have other keys. Products keep their names.
 */
function keysInWhole(whole: TransformerModel, view: TransformerModel): ReadonlyMap<string, string> {
  const byProduct = new Map(
    findBlocks(whole).map(({ contraction, key }) => [contraction.node.name, key]),
  )
  return new Map(
    findBlocks(view).flatMap(({ contraction, key }) => {
      const own = byProduct.get(contraction.node.name)
      return own === undefined ? [] : [[key, own] as const]
    }),
  )
}

/**
 * Dimensions that still have something to weigh, by whether a weight behind them can take the factors in: a whole
 * one, of which nothing went that it writes to.
 */
function foldable(
  whole: TransformerModel,
  view: TransformerModel,
  keys: ReadonlyMap<string, string>,
) {
  const columns = new Map(findBlocks(whole).map((each) => [each.key, each.projection?.columns]))
  const folded = new Set(
    findBlocks(view).flatMap(({ key, projection, dimension }) =>
      projection && dimension && projection.columns === columns.get(keys.get(key) ?? '')
        ? dimension
        : [],
    ),
  )
  const all = [...view.attention, ...view.feedForward].flatMap(({ dimension }) => dimension ?? [])
  const able = all.filter((each) => each.sliceable && folded.has(each))
  return { able, others: all.filter((each) => !folded.has(each)).map(({ id }) => id) }
}

/** The projections of the cut with a factor for every unit that stays. */
function withMeans(
  view: TransformerModel,
  keys: ReadonlyMap<string, string>,
  { masks }: MaskSet,
  means: Float32Array,
  cut: Cut,
): readonly RefittedProjection[] {
  const all = masks.map((mask) => ({
    mask,
    kept: Array.from({ length: mask.size }, (_, unit) => unit),
    order: [],
  }))
  const folded = new Map(
    foldMeans(view, { means }, all).map((each) => {
      const block = keys.get(each.block) ?? each.block
      return [block, { ...each, block }]
    }),
  )
  const before = new Map((cut.projections ?? []).map((each) => [each.block, each]))
  return [...new Set([...before.keys(), ...folded.keys()])].map(
    (block) => ({ ...before.get(block), ...folded.get(block) }) as RefittedProjection,
  )
}
