/** Carries out the counts: block after block, what goes, and the weights that answer for it. */

import { Removal } from '../axes/removal.js'
import type { Calibration } from '../calibrate/state.js'
import type { Batch } from '../data/batch.js'
import type { Model } from '../graph/graph.js'
import type { Products } from '../linear-algebra/products.js'
import type { TransformerModel } from '../model/model.js'
import { toWeight } from '../model/projection.js'
import type { BlockRead } from '../model/reads.js'
import { findReads } from '../model/reads.js'
import { columnsOf } from '../model/unmixed.js'
import type { PlanSlice, ReadWeight, RefittedProjection } from '../plan/plan.js'
import type { RunOptions } from '../runtime/batches.js'
import { correctRead } from './correct.js'
import type { Ranking } from './elimination.js'
import type { Metric } from './metric.js'
import type { Means, Observation } from './observe.js'
import type { Choice, PrunableBlock } from './prunable.js'
import { rankUnmixed } from './rank-unmixed.js'
import { refitBlock } from './refit.js'
import { type NewGate, type NewProjection, type Repair, repairInOrder } from './sequential.js'

export interface RepairInput extends RunOptions {
  readonly model: Model
  readonly view: TransformerModel
  readonly calibration: Calibration
  /** With data, every block is re-fitted on the model as pruned before it. */
  readonly batches?: readonly Batch[] | undefined
}

export interface RepairOptions {
  /** λ = ridge · inputs/tokens · mean diagonal of the moments: the less was seen, the more. */
  readonly ridge: number
  /** Whether projections without a bias get one, for the means of what went. */
  readonly bias: boolean
  /** Whether weights that read the pruned stream take in the best estimate of the dense one. */
  readonly correct: boolean
  /** Whether units go in the order of their ranking; else they are chosen anew on what is observed. */
  readonly isRanked: boolean
}

export interface Allocated {
  readonly blocks: readonly PrunableBlock[]
  readonly rankings: ReadonlyMap<Choice, Ranking>
  readonly counts: ReadonlyMap<Choice, number>
  readonly metrics: ReadonlyMap<string, Metric>
  readonly products: Products
}

export interface Repaired {
  readonly slices: readonly PlanSlice[]
  readonly projections: readonly RefittedProjection[]
}

export async function repairBlocks(
  input: RepairInput,
  allocated: Allocated,
  options: RepairOptions,
): Promise<Repaired> {
  const { blocks, counts } = allocated
  const { batches, calibration, log } = input
  const repair = new BlockRepair(input, allocated, options)
  const isLosing = ({ choices }: PrunableBlock): boolean =>
    choices.some((choice) => (counts.get(choice) ?? 0) > 0)
  if (batches) {
    // Blocks that lose nothing answer for what went before them.
    const later = blocks.slice(blocks.findIndex(isLosing))
    await repairInOrder(input.model, later, repair, { ...input, batches, addBias: options.bias })
    return repair
  }
  const losing = blocks.filter(isLosing)
  for (const [index, block] of losing.entries()) {
    const statistics = calibration.get(block.key)
    const { moments } = statistics ?? {}
    if (statistics && moments)
      await repair.refit(block, { ...statistics, moments, missing: undefined, means: undefined })
    log.progress('re-fitting', index + 1, losing.length)
  }
  return repair
}

class BlockRepair implements Repair<PrunableBlock>, Repaired {
  readonly slices: PlanSlice[] = []
  readonly projections: RefittedProjection[] = []
  private readonly corrected = new Map<string, ReadWeight[]>()
  private readonly found: ReadonlyMap<string, readonly BlockRead[]>

  private readonly view: TransformerModel

  constructor(
    { view }: RepairInput,
    private readonly allocated: Allocated,
    private readonly options: RepairOptions,
  ) {
    this.view = view
    this.found = options.correct ? findReads(view) : new Map()
  }

  async refit(
    block: PrunableBlock,
    observation: Observation,
  ): Promise<NewProjection | NewGate | undefined> {
    if (block.isUnmixed) return this.cutUnmixed(block, observation)
    const { counts, rankings, products, metrics } = this.allocated
    const { isRanked, ridge } = this.options
    const fitted = await refitBlock(block, observation, {
      counts,
      ridge,
      fixed: isRanked ? rankings : undefined,
      gone: this.goneBefore(block),
      products,
      metric: metrics.get(block.key),
    })
    if (!fitted) {
      const own = [...rankings].filter(([choice]) => choice.block.key === block.key)
      this.slices.push(...keepWeights(new Map(own), counts))
      return undefined
    }
    const reads = this.corrected.get(block.key)
    this.slices.push(...fitted.slices)
    this.projections.push({ ...fitted.projection, ...(reads && { reads }) })
    if (!block.projection) return undefined
    return { weight: toWeight(block.projection, fitted.weight), shift: fitted.projection.shift }
  }

  normed(block: PrunableBlock): ReadonlyMap<string, readonly number[]> | undefined {
    const { counts } = this.allocated
    const losing = block.choices.filter((choice) => (counts.get(choice) ?? 0) > 0)
    if (block.isUnmixed) return undefined
    const kept = losing.flatMap(({ dimension: { id, isNormed, size } }) => {
      const own = this.slices.find(({ dimension }) => dimension === id)
      if (!isNormed || !own) return []
      const gone = new Set(own.remove)
      const all = Array.from({ length: size }, (_, member) => member)
      return [[id, all.filter((member) => !gone.has(member))] as const]
    })
    return kept.length > 0 ? new Map(kept) : undefined
  }

  async refitNormed(
    block: PrunableBlock,
    observation: Observation,
  ): Promise<NewProjection | undefined> {
    const { counts, products, metrics } = this.allocated
    // A basis of values belongs to the first weights.
    if (block.choices.some((each) => each.frame && (counts.get(each) ?? 0) > 0)) return undefined
    const fitted = await refitBlock(block, observation, {
      counts: new Map(),
      ridge: this.options.ridge,
      fixed: undefined,
      gone: this.goneBefore(block),
      products,
      metric: metrics.get(block.key),
    })
    const before = this.projections.findIndex((each) => each.block === block.key)
    if (!fitted || !block.projection || before < 0) return undefined
    const { reads } = this.projections[before] as RefittedProjection
    this.projections[before] = { ...fitted.projection, ...(reads && { reads }) }
    return { weight: toWeight(block.projection, fitted.weight), shift: fitted.projection.shift }
  }

  /** Nothing can be re-fitted: what goes goes in its order, and its mean stays. */
  private cutUnmixed(block: PrunableBlock, observation: Observation): NewGate | undefined {
    const { counts, rankings } = this.allocated
    const { means, tokens } = observation
    const ranked = [...rankings].filter(([choice]) => choice.block.key === block.key)
    const own = ranked.map(([choice, before]): [Choice, Ranking] => {
      if (this.options.isRanked || !means) return [choice, before]
      // As means stay, what varies is what is lost.
      const { moments } = observation
      const size = block.width
      const centred = moments.map((sum, at) => {
        const [row, column] = [Math.floor(at / size), at % size]
        const both = (means.inputs[row] as number) * (means.inputs[column] as number)
        return sum - both / Math.max(means.weights, 1e-12)
      })
      const count = counts.get(choice) ?? 0
      return [choice, rankUnmixed(choice, { moments: centred, tokens, size }, count) ?? before]
    })
    this.slices.push(...keepWeights(new Map(own), counts))
    const lost = own.flatMap(([choice, { order }]) =>
      order.slice(0, counts.get(choice) ?? 0).flatMap((unit) => choice.units[unit]?.rows ?? []),
    )
    const reads = this.corrected.get(block.key)
    const shift = means && lost.length > 0 ? shiftOfLost(block, means, lost) : undefined
    if (shift || reads)
      this.projections.push({
        block: block.key,
        rows: 0,
        columns: columnsOf(block),
        weight: new Float32Array(0),
        ...(shift && { shift }),
        ...(reads && { reads }),
      })
    if (lost.length === 0) return undefined
    const gate = new Float32Array(block.width).fill(1)
    for (const row of lost) gate[row] = 0
    return { gate, shift }
  }

  /** Inputs of a block that went when an earlier one cut a dimension that both have. */
  private goneBefore({ inputs: what }: PrunableBlock): number[] {
    const size = what.size.value ?? 0
    const removed = new Map(
      this.slices.map(({ dimension, remove }) => [dimension, new Set(remove)]),
    )
    const removal = new Removal(
      new Map(
        this.view.dimensions.flatMap(({ id, axis, size: members }) => {
          const own = removed.get(id)
          const all = Array.from({ length: members }, (_, i) => i)
          return own ? [[axis, all.filter((member) => !own.has(member))] as const] : []
        }),
      ),
    )
    const kept = removal.kept(what)
    if (!kept) return []
    const left = new Set(kept)
    return Array.from({ length: size }, (_, row) => row).filter((row) => !left.has(row))
  }

  reads(block: PrunableBlock): readonly BlockRead[] {
    return ((block.projection || block.isUnmixed) && this.found.get(block.key)) || []
  }

  async correct(block: PrunableBlock, read: BlockRead, observation: Observation) {
    const { ridge } = this.options
    const weights = await correctRead(read, observation, ridge, this.allocated.products)
    const before = this.corrected.get(block.key) ?? []
    const all = this.reads(block).flatMap(({ projections }) => projections)
    const now = read.projections.map((projection, i) => ({
      index: all.findIndex(({ weight }) => weight === projection.weight),
      weight: Float32Array.from(weights[i] as Float64Array),
    }))
    this.corrected.set(block.key, [...before, ...now])
    return read.projections.map((projection, i) => toWeight(projection, weights[i] as Float64Array))
  }
}

/** What the lost inputs say in the mean, in the columns that they write to. */
function shiftOfLost(
  block: PrunableBlock,
  { weights, inputs }: Means,
  lost: readonly number[],
): Float32Array {
  const columns = columnsOf(block)
  const { share = 1 } = block.contraction
  const shift = new Float32Array(columns)
  for (const row of lost)
    shift[row % columns] =
      (shift[row % columns] as number) +
      (share * (inputs[row] as number)) / Math.max(weights, 1e-12)
  return shift
}

/** What goes where nothing is re-fitted: the first of each order. */
export function keepWeights(
  rankings: ReadonlyMap<Choice, Ranking>,
  counts: ReadonlyMap<Choice, number>,
): PlanSlice[] {
  const slices: PlanSlice[] = []
  for (const [choice, { order }] of rankings) {
    const gone = order.slice(0, counts.get(choice) ?? 0)
    if (gone.length === 0 || choice.frame) continue
    const remove = gone.flatMap((unit) => choice.units[unit]?.members ?? [])
    slices.push({ dimension: choice.dimension.id, remove: remove.sort((a, b) => a - b) })
  }
  return slices
}
