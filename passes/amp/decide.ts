/**
 * AMP's decision: blocks are ranked once, and then cut to any demand. How units are ranked is rank.ts, what weighs
 * errors weigh.ts; the re-fit is src/repair.
 */
import { AttncError } from '../../src/errors.js'
import { openProducts } from '../../src/linear-algebra/products.js'
import type { TransformerModel } from '../../src/model/model.js'
import { type Findings, sensitivityOf } from '../../src/plan/findings.js'
import type { Demand, Outline } from '../../src/plan/pass.js'
import type { PlanSlice, RefittedProjection } from '../../src/plan/plan.js'
import {
  allocate,
  blockCost,
  parametersOf,
  removedCost,
  removedParameters,
  roundCounts,
  type UnitCost,
} from '../../src/repair/allocate.js'
import type { Ranking } from '../../src/repair/elimination.js'
import type { Choice } from '../../src/repair/prunable.js'
import { deepest } from '../../src/repair/rank-by-error.js'
import {
  type Allocated,
  keepWeights,
  type RepairInput,
  repairBlocks,
} from '../../src/repair/repair.js'
import { chooseBlocks } from './choose-blocks.js'
import type { AmpOptions } from './options.js'
import { mostUnits, rankChoices } from './rank.js'
import { explainShortfall } from './shortfall.js'
import { allocateAsPublished, allocateUniform } from './uniform.js'
import { findMetrics, findScores, weighRankings } from './weigh.js'

export type AmpInput = RepairInput

export interface Decision {
  readonly slices: readonly PlanSlice[]
  readonly projections: readonly RefittedProjection[]
  /** Parameters that go, and how many the prunable blocks have. */
  readonly removed: number
  readonly prunable: number
  /** Why clearly less goes than was asked for. */
  readonly shortfall: string | undefined
  readonly findings: Findings
}

/** Errors: RATIO_RANGE, NOTHING_PRUNABLE. */
export async function decideAmp(input: AmpInput, options: AmpOptions): Promise<Decision> {
  await using ranked = await RankedBlocks.open(input, options)
  return await ranked.decide(options)
}

/** The blocks of a model with their units ranked: looked at once, cut to any demand. */
export class RankedBlocks implements AsyncDisposable {
  private constructor(
    private readonly input: AmpInput,
    private readonly options: AmpOptions,
    private readonly ranked: Omit<Allocated, 'counts'>,
    /** What errors were weighed by, to be said behind them. */
    private readonly weighed: string,
  ) {}

  /** Errors: RATIO_RANGE, NOTHING_PRUNABLE. */
  static async open(input: AmpInput, options: AmpOptions): Promise<RankedBlocks> {
    if (!(options.ratio > 0 && options.ratio < 1))
      throw new AttncError(
        'RATIO_RANGE',
        'usage',
        `The ratio is ${options.ratio}; it has to lie between 0 and 1 (0.2 removes a fifth).`,
      )
    const blocks = chooseBlocks(input.view, options)
    const products = await openProducts(input)
    try {
      const metrics = await findMetrics(input, blocks, options, products)
      const scores = await findScores(input, blocks, options)
      const { calibration, log } = input
      const help = { metrics, scores, products, log }
      const found = await rankChoices(blocks, calibration, options, help)
      const rankings = await weighRankings(input, found, options, { blocks, products })
      const byAnswers = rankings === found ? '' : ', weighed by the answers'
      const weighed = metrics.size > 0 ? ', weighed by the loss' : byAnswers
      return new RankedBlocks(input, options, { blocks, rankings, metrics, products }, weighed)
    } catch (error) {
      await products[Symbol.asyncDispose]()
      throw error
    }
  }

  /** How many units would go of what. */
  outline(demand: Demand): readonly PlanSlice[] {
    return outlineOf(this.count(demand), this.ranked.rankings)
  }

  async decide(demand: Demand): Promise<Decision> {
    const { input, options, ranked } = this
    const counts = this.count(demand)
    const decided =
      options.recover === 'ridge'
        ? await repairBlocks(
            input,
            { ...ranked, counts },
            // Criteria that choose one by one have chosen already; only the output criterion chooses anew.
            { ...options, isRanked: options.criterion !== 'output' },
          )
        : { slices: keepWeights(ranked.rankings, counts), projections: [] }
    return {
      ...decided,
      removed: removedParameters(counts),
      prunable: blockCost(ranked.blocks),
      shortfall: explainShortfall(counts, blockCost(ranked.blocks), demand, options),
      findings: this.findings(),
    }
  }

  private findings(): Findings {
    const { input, options, ranked } = this
    const hasMoments = input.calibration.size > 0
    return {
      measure:
        options.criterion === 'output' && hasMoments
          ? `squared error of the block's output per token${this.weighed}`
          : `sum of the scores by "${options.criterion}"`,
      sensitivity: [...ranked.rankings].map(([{ dimension, units }, ranking]) =>
        sensitivityOf(dimension.id, units.length, ranking),
      ),
    }
  }

  private count({ ratio, least, prices, ...demand }: Demand): Map<Choice, number> {
    const { blocks, rankings } = this.ranked
    const { allocation } = this.options
    const roundTo = this.options.roundTo > 1 ? this.options.roundTo : (demand.roundTo ?? 1)
    if (allocation === 'global') {
      const curves = [...rankings].map(([choice, { errors }]) => ({ choice, errors }))
      const costOf = costOfUnits(prices)
      return allocate(curves, blockCost(blocks, costOf) * ratio, roundTo, least, costOf)
    }
    const counts = uniformCounts([...rankings.keys()], { ...this.options, ratio })
    roundCounts(counts, roundTo)
    if (least) takeAtLeast(counts, least)
    return counts
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.ranked.products[Symbol.asyncDispose]()
  }
}

/** All that could go at once, told without data. Error: NOTHING_PRUNABLE. */
export function outlineMost(
  view: TransformerModel,
  options: AmpOptions,
  prices?: Demand['prices'],
): Outline {
  const blocks = chooseBlocks(view, options)
  const choices = blocks.flatMap((block) => block.choices)
  const all = { ...options, ratio: deepest }
  if (options.allocation === 'uniform') {
    const counts = uniformCounts(choices, all)
    roundCounts(counts, options.roundTo)
    return { ratio: deepest, slices: outlineOf(counts) }
  }
  // Members of values go in a basis that only the output criterion finds.
  const own = choices.filter(({ frame }) => !frame || options.criterion === 'output')
  const counts = new Map(own.map((choice) => [choice, mostUnits(choice, all)]))
  roundCounts(counts, options.roundTo)
  // A little more, lest the last unit is rounded away.
  const costOf = costOfUnits(prices)
  const ratio = Math.min(1, (1.001 * removedCost(counts, costOf)) / blockCost(blocks, costOf))
  return { ratio, slices: outlineOf(counts) }
}

/** Members of the units that go; the last unit of a quantised weight may be smaller than others. */
const outlineOf = (
  counts: ReadonlyMap<Choice, number>,
  rankings?: ReadonlyMap<Choice, Ranking>,
): PlanSlice[] =>
  [...counts].flatMap(([choice, count]) => {
    const { dimension, units } = choice
    const order = rankings?.get(choice)?.order ?? [...units.keys()]
    const remove = order.slice(0, count).flatMap((unit) => units[unit]?.members ?? [])
    return remove.length === 0 ? [] : [{ dimension: dimension.id, remove }]
  })

/** As many more units of every priced choice as the same share of all takes. */
function takeAtLeast(
  counts: Map<Choice, number>,
  { costs, amount }: NonNullable<Demand['least']>,
): void {
  const priced = [...counts.keys()].filter(({ dimension }) => costs.has(dimension.id))
  const costOf = ({ dimension }: Choice): number => (costs.get(dimension.id) ?? 0) * dimension.size
  const share = amount / priced.reduce((sum, choice) => sum + costOf(choice), 0)
  for (const choice of priced) {
    const least = Math.min(Math.ceil(share * choice.units.length - 1e-9), choice.units.length - 1)
    counts.set(choice, Math.max(counts.get(choice) ?? 0, least))
  }
}

function costOfUnits(prices: Demand['prices']): UnitCost {
  if (!prices) return parametersOf
  // What was not priced is no cheaper than anything else.
  const least = Math.min(...prices.values())
  return ({ dimension, units }) =>
    ((prices.get(dimension.id) ?? least) * dimension.size) / units.length
}

const uniformCounts = (choices: readonly Choice[], { criterion, ratio }: AmpOptions) =>
  criterion === 'paper' ? allocateAsPublished(choices, ratio) : allocateUniform(choices, ratio)
