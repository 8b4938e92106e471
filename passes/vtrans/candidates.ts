/**
 * Two ways to say what goes at one price, each re-fitted in closed form: as the masks have learned it, and
 * by the error of each block's output, as AMP does. Masks know what the answer needs; at small ratios the
 * error knows it as well, without the noise of learning. Which was right is found on held-out data.
 */
import { calibrate } from '../../src/calibrate/calibrate.js'
import { openProducts, type Products } from '../../src/linear-algebra/products.js'
import type { TransformerModel } from '../../src/model/model.js'
import { type Findings, sensitivityOf } from '../../src/plan/findings.js'
import type { PlanSlice } from '../../src/plan/plan.js'
import {
  allocate,
  blockCost,
  removedCost,
  roundCounts,
  type UnitCost,
} from '../../src/repair/allocate.js'
import type { Ranking } from '../../src/repair/elimination.js'
import { type Choice, findPrunable, type PrunableBlock } from '../../src/repair/prunable.js'
import { deepest, rankByError } from '../../src/repair/rank-by-error.js'
import { repairBlocks } from '../../src/repair/repair.js'
import { foldMeans } from './fold.js'
import type { VtransInput } from './input.js'
import type { Cut } from './judge.js'
import type { LearnedMasks } from './learn.js'
import type { VtransOptions } from './options.js'
import { costOf, fullCounts, type Resource, shareLeft } from './resource.js'
import { countsOf, leastCounts, type Selection } from './select.js'

export interface Candidate extends Cut {
  /** How it was chosen, as a log says it. */
  readonly by: string
  /** How much goes of each resource. */
  readonly removed: readonly number[]
  readonly findings: Pick<Findings, 'measure' | 'sensitivity'>
}

/** What the masks say. An order is all that they give; what a unit would cost they don't say. */
export async function cutByMasks(
  input: VtransInput,
  learned: LearnedMasks,
  options: VtransOptions,
): Promise<Candidate> {
  const { selected, resources } = learned
  const cut =
    options.recover === 'ridge'
      ? await refitSelected(input, selected, options)
      : { slices: slicesOf(selected), projections: foldMeans(input.view, learned, selected) }
  const own = selected.filter(({ mask }) => !mask.isWhole)
  return {
    by: 'learned masks',
    ...cut,
    removed: savedBy(resources, countsOf(selected)),
    findings: {
      measure: null,
      sensitivity: own.map(({ mask, order }) =>
        sensitivityOf(mask.dimension.id, mask.size, { order, errors: [] }),
      ),
    },
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

async function refitSelected(
  input: VtransInput,
  selected: readonly Selection[],
  options: VtransOptions,
): Promise<Cut> {
  const rankings = new Map<Choice, Ranking>()
  const counts = new Map<Choice, number>()
  const blocks = maskedBlocks(input.view, selected, false)
  for (const choice of blocks.flatMap((block) => block.choices)) {
    const found = selected.find(({ mask }) => mask.dimension === choice.dimension) as Selection
    rankings.set(choice, { order: found.order, errors: [] })
    counts.set(choice, found.mask.size - found.kept.length)
  }
  await using products = await openProducts(input)
  const { projections } = await refit(input, { blocks, rankings, counts, products }, options, true)
  return { slices: slicesOf(selected), projections }
}

/**
 * What the error of each block's output says. Members of values go too, where hosts allow it and parameters count.
 * Undefined where masks take from a block whose error can't be told: less would go, and look better for it.
 */
export async function cutByError(
  input: VtransInput,
  { selected, set, resources }: LearnedMasks,
  options: VtransOptions,
): Promise<Candidate | undefined> {
  const { ridge, roundTo, target, ratio } = options
  const blocks = maskedBlocks(
    input.view,
    selected,
    input.hasCache === false && target === 'parameters',
  )
  const calibration = await calibrate(input.model, { ...input, moments: true })
  await using products = await openProducts(input)
  const rankings = new Map<Choice, Ranking>()
  for (const choice of blocks.flatMap((block) => block.choices)) {
    const all = choice.units.length
    const most = Math.min(all - 1, Math.ceil(all * deepest) + roundTo)
    const how = { ridge, most, products }
    const ranking = await rankByError(choice, calibration.get(choice.block.key), how)
    if (ranking) rankings.set(choice, ranking)
  }
  const judged = new Set([...rankings.keys()].map(({ dimension }) => dimension))
  const isJudged = ({ mask, kept }: Selection): boolean =>
    mask.isWhole || kept.length === mask.size || judged.has(mask.dimension)
  if (!selected.every(isJudged)) return undefined
  const curves = [...rankings].map(([choice, { errors }]) => ({ choice, errors }))
  const price = priceOf(set.masks, resources)
  const total = blockCost(blocks, price)
  const countAt = (share: number) => allocate(curves, total * share, roundTo, undefined, price)
  const keeps = (counts: ReadonlyMap<Choice, number>): number[] =>
    set.masks.map((mask) => {
      const choice = [...counts.keys()].find(({ dimension }) => dimension === mask.dimension)
      return mask.isWhole || !choice ? mask.size : mask.size - (counts.get(choice) ?? 0)
    })
  const counts =
    target === 'parameters'
      ? countAt(ratio)
      : cheapest(countAt, (each) => shareLeft(resources, keeps(each)) <= 1 - ratio)
  roundCounts(counts, roundTo)
  const cut = await refit(input, { blocks, rankings, counts, products }, options, false)
  return {
    by: 'the error of each block',
    ...cut,
    removed:
      target === 'parameters'
        ? resources.map(({ total: all }) => all * removedCost(counts, price))
        : savedBy(resources, keeps(counts)),
    findings: {
      measure: "squared error of the block's output per token",
      sensitivity: [...rankings].map(([{ dimension, units }, ranking]) =>
        sensitivityOf(dimension.id, units.length, ranking),
      ),
    },
  }
}

/** The least share that meets the budget: prices of units are means, and what they cost together is not their sum. */
function cheapest<Counts>(
  countAt: (share: number) => Counts,
  meets: (counts: Counts) => boolean,
): Counts {
  let [low, high] = [0, 1]
  for (let round = 0; round < 20; round++) {
    const middle = (low + high) / 2
    if (meets(countAt(middle))) high = middle
    else low = middle
  }
  return countAt(high)
}

const savedBy = (resources: readonly Resource[], counts: readonly number[]): number[] =>
  resources.map((each) => each.total - costOf(each, counts))

/**
 * What a unit costs in the mean between all of its mask and the least that stays, as a share of all; with
 * several resources in the mean of these.
 */
function priceOf(masks: LearnedMasks['set']['masks'], resources: readonly Resource[]): UnitCost {
  const full = fullCounts(masks)
  const least = leastCounts(masks, 1)
  const prices = new Map(
    masks.map(({ dimension, size, isWhole }, index) => {
      const few = isWhole ? size : (least[index] as number)
      const shares = resources.map((each) => 1 - costOf(each, full.with(index, few)) / each.total)
      const saved = shares.reduce((sum, share) => sum + share / shares.length, 0)
      return [isWhole ? undefined : dimension, saved / Math.max(size - few, 1)]
    }),
  )
  return ({ dimension, frame, parametersPerUnit }) =>
    (frame ? undefined : prices.get(dimension)) ?? parametersPerUnit / (resources[0]?.total ?? 1)
}

interface Counted {
  readonly blocks: readonly PrunableBlock[]
  readonly rankings: ReadonlyMap<Choice, Ranking>
  readonly counts: ReadonlyMap<Choice, number>
  readonly products: Products
}

const refit = (
  input: VtransInput,
  counted: Counted,
  { ridge }: VtransOptions,
  isRanked: boolean,
): Promise<Required<Cut>> =>
  repairBlocks(
    { ...input, calibration: new Map() },
    { ...counted, metrics: new Map() },
    { ridge, bias: false, correct: true, isRanked },
  ).then(({ slices, projections }) => ({ slices, projections }))

/** Blocks with the choices that masks were learned for, and with members of their values where asked for. */
const maskedBlocks = (
  view: TransformerModel,
  selected: readonly Selection[],
  hasValues: boolean,
): PrunableBlock[] =>
  findPrunable(view).map((block) => {
    const own = block.choices.filter(
      ({ dimension, frame }) => !frame && selected.some(({ mask }) => mask.dimension === dimension),
    )
    const values = hasValues && own.length > 0 ? block.choices.filter(({ frame }) => frame) : []
    return { ...block, choices: [...own, ...values] }
  })
