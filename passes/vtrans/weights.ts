/**
 * The variants that train weights too: on the model as the masks leave it, low-rank updates of the blocks'
 * matrices learn to answer as the dense model does. They become a second part of the plan, in which
 * matrices are told by block and place, so that every model of a folder finds its own.
 */
import type { Batch } from '../../src/data/batch.js'
import { extractSubgraph } from '../../src/graph/extract.js'
import type { Model } from '../../src/graph/graph.js'
import { findBlocks } from '../../src/model/block.js'
import { readModel } from '../../src/model/model.js'
import { fromWeight, type Projection } from '../../src/model/projection.js'
import { findReads } from '../../src/model/reads.js'
import { fromConstant, type RuntimeTensor } from '../../src/onnx/numbers.js'
import { applyPart } from '../../src/plan/apply.js'
import { thinned } from '../../src/plan/findings.js'
import type { PlanPart, RefittedProjection } from '../../src/plan/plan.js'
import type { RunOptions } from '../../src/runtime/batches.js'
import type { FoldedWeight } from '../../src/train/adapter/fold.js'
import { holdOut } from '../../src/train/held-out.js'
import { train } from '../../src/train/train.js'
import { batchSizeOf, type VtransOptions } from './options.js'

export interface WeightsInput extends RunOptions {
  readonly model: Model
  readonly batches: readonly Batch[]
  /** A part of the batches where none are given. */
  readonly heldOut?: readonly Batch[] | undefined
  /** Learned from besides; never judged by. */
  readonly text: readonly Batch[]
}

/** `part`: what the masks decided. */
export async function trainWeights(
  input: WeightsInput,
  part: PlanPart,
  options: VtransOptions,
): Promise<PlanPart> {
  const { model, batches, text } = input
  const { training, heldOut } = holdOut({ batches, heldOut: input.heldOut })
  const pruned = extractSubgraph(model.graph, new Map(), [...model.graph.outputs])
  applyPart(pruned.graph, part)
  const { weightUpdates, weightRate, seed } = options
  const rank = 32
  const { weights, before, best, updates, trained, curve } = await train(pruned, {
    ...input,
    batches: [...training, ...text],
    heldOut,
    method: { kind: 'lora', rank, alpha: 2 * rank, targets: ['attention', 'feedForward'] },
    updates: weightUpdates,
    batchSize: 2 * batchSizeOf(options, batches),
    rate: weightRate,
    teacher: { model, share: 0.8, temperature: 1 },
    patience: Number.POSITIVE_INFINITY,
    memoryLimit: options.memoryLimit,
    seed,
  })
  return {
    ...placed(pruned, weights),
    slices: [],
    findings: { training: { before, best, updates, trained, curve: thinned(curve) } },
  }
}

/** Weights as blocks read and write through them; others by name. */
function placed(model: Model, trained: readonly FoldedWeight[]): Omit<PlanPart, 'slices'> {
  const view = readModel(model.graph)
  const reading = findReads(view)
  const left = new Map(trained.map(({ name, tensor }) => [name, tensor]))
  const take = (projection: Projection): Float32Array | undefined => {
    const tensor = left.get(projection.weight.name)
    if (!tensor) return undefined
    left.delete(projection.weight.name)
    return Float32Array.from(fromWeight(projection, tensor))
  }
  const projections = findBlocks(view).flatMap((block): RefittedProjection[] => {
    const { projection } = block
    if (!projection) return []
    const { rows, columns } = projection
    const weight = take(projection) ?? Float32Array.from(projection.read())
    const all = (reading.get(block.key) ?? []).flatMap((read) => read.projections)
    const reads = all.flatMap((each, index) => {
      const own = take(each)
      return own ? [{ index, weight: own }] : []
    })
    return [{ block: block.key, rows, columns, weight, ...(reads.length > 0 && { reads }) }]
  })
  const weights = [...left].map(([name, tensor]) => ({
    name,
    tensor: fromConstant(tensor) as RuntimeTensor,
  }))
  return { projections, ...(weights.length > 0 && { weights }) }
}
