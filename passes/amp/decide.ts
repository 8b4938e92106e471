import { AttncError } from '../../src/errors.js'
import { openProducts, type Products } from '../../src/linear-algebra/products.js'
import type { TransformerModel } from '../../src/model/model.js'
import type { PlanSlice, RefittedProjection } from '../../src/plan/plan.js'
import type { Ranking } from '../../src/repair/elimination.js'
import { Metric } from '../../src/repair/metric.js'
import {
  type Choice,
  findPrunable,
  nothingPrunable,
  type PrunableBlock,
} from '../../src/repair/prunable.js'
import { keepWeights, type RepairInput, repairBlocks } from '../../src/repair/repair.js'
import {
  allocate,
  allocateAsPublished,
  allocateUniform,
  isHeads,
  removedParameters,
  roundCounts,
} from './allocate.js'
import { measureGradientScores } from './gradient-scores.js'
import { measureHeadWrites } from './head-writes.js'
import { type AmpOptions, isAskedFor } from './options.js'
import { rankChoices } from './rank.js'
import { measureSensitivity } from './sensitivity.js'

export type AmpInput = RepairInput

export interface Decision {
  readonly slices: readonly PlanSlice[]
  readonly projections: readonly RefittedProjection[]
  /** Parameters that go, and how many the prunable blocks have. */
  readonly removed: number
  readonly prunable: number
}

/** Errors: RATIO_RANGE, NOTHING_PRUNABLE. */
export async function decideAmp(input: AmpInput, options: AmpOptions): Promise<Decision> {
  if (!(options.ratio > 0 && options.ratio < 1))
    throw new AttncError(
      'RATIO_RANGE',
      'usage',
      `The ratio is ${options.ratio}; it has to lie between 0 and 1 (0.2 removes a fifth).`,
    )
  const blocks = chooseBlocks(input.view, options)
  await using products = await openProducts(input)
  const metrics = await findMetrics(input, blocks, options, products)
  const scores = await findScores(input, blocks, options)
  const rankings = await rankChoices(blocks, input.calibration, options, {
    metrics,
    scores,
    products,
    log: input.log,
  })
  const prunable = blockParameters(blocks)
  const counts = countUnits(rankings, prunable * options.ratio, options)
  const decided =
    options.recover === 'ridge'
      ? await repairBlocks(
          input,
          { blocks, rankings, counts, metrics, products },
          // Criteria that choose one by one have chosen already; only the output criterion chooses anew.
          { ...options, isRanked: options.criterion !== 'output' },
        )
      : { slices: keepWeights(rankings, counts), projections: [] }
  return { ...decided, removed: removedParameters(counts), prunable }
}

/** What errors of each block mean to the answer; none where the size of the error is to decide. */
async function findMetrics(
  input: AmpInput,
  blocks: readonly PrunableBlock[],
  options: AmpOptions,
  products: Products,
): Promise<ReadonlyMap<string, Metric>> {
  const { batches } = input
  const found = new Map<string, Metric>()
  if (!batches || options.criterion !== 'output' || options.weigh !== 'loss') return found
  const all = await measureSensitivity(input.model, input.view, blocks, { ...input, batches })
  for (const [key, g] of all ?? []) found.set(key, await Metric.of(g, products))
  return found
}

/** Scores that a run of their own gives; without data for it, calibration has to do. */
async function findScores(
  input: AmpInput,
  blocks: readonly PrunableBlock[],
  { criterion }: AmpOptions,
): Promise<ReadonlyMap<string, readonly number[]>> {
  const { model, view, batches } = input
  if (criterion === 'taylor' || criterion === 'fisher') {
    if (batches) return measureGradientScores(model, blocks, batches, { ...input, criterion })
    throw new AttncError('NO_DATA', 'usage', `The criterion "${criterion}" needs data to run on.`, {
      suggestions: ['Give some with --data; statistics alone have no gradients.'],
    })
  }
  const isPaper = criterion === 'paper' || criterion === 'reversed'
  return batches && isPaper
    ? measureHeadWrites(model, view, blocks, batches, input)
    : new Map<string, readonly number[]>()
}

function chooseBlocks(view: TransformerModel, options: AmpOptions): PrunableBlock[] {
  const hasValues = options.values && options.recover === 'ridge'
  const blocks = findPrunable(view)
    .filter((block) => isAskedFor(block, options))
    .map((block) => ({
      ...block,
      choices: block.choices.filter(
        ({ frame, dimension }) => (hasValues || !frame) && !options.protect.includes(dimension.id),
      ),
    }))
    .filter(({ choices }) => choices.length > 0)
  if (blocks.length > 0) return blocks
  throw nothingPrunable()
}

/** Parameters that go when all heads and neurons of the blocks go. */
const blockParameters = (blocks: readonly PrunableBlock[]): number =>
  blocks.reduce((sum, { choices }) => {
    const whole = choices.filter(({ frame }) => !frame)
    // Where no head can go, the members of the values are all there is of attention.
    const parts = whole.some(isHeads) ? whole : choices
    return parts.reduce(
      (all, { parametersPerUnit, units }) => all + parametersPerUnit * units.length,
      sum,
    )
  }, 0)

function countUnits(
  rankings: ReadonlyMap<Choice, Ranking>,
  budget: number,
  options: AmpOptions,
): Map<Choice, number> {
  const { roundTo } = options
  if (options.allocation === 'global') {
    const curves = [...rankings].map(([choice, { errors }]) => ({ choice, errors }))
    return allocate(curves, budget, roundTo)
  }
  const counts = uniformCounts([...rankings.keys()], options)
  roundCounts(counts, roundTo)
  return counts
}

const uniformCounts = (choices: readonly Choice[], { criterion, ratio }: AmpOptions) =>
  criterion === 'paper' ? allocateAsPublished(choices, ratio) : allocateUniform(choices, ratio)
