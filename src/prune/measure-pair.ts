/** What a metric says of the original and of the model made from it, on the same data. */
import type { Batch } from '../data/batch.js'
import { type Evaluated, evaluate } from '../evaluate/evaluate.js'
import { isComparing, type MetricName } from '../evaluate/metric-name.js'
import type { Model } from '../graph/graph.js'
import type { RunOptions } from '../runtime/batches.js'

/** A metric of the dense and of the pruned model; of the pruned one only where it compares the two. */
export interface MeasuredPair {
  readonly before: Evaluated | undefined
  readonly after: Evaluated
}

/** Errors: those of `evaluate`. */
export async function measurePair(
  dense: Model,
  pruned: Model,
  options: RunOptions & {
    readonly batches: readonly Batch[]
    /** The same data as the dense model numbers tokens, where that differs. */
    readonly denseBatches?: readonly Batch[] | undefined
    readonly metrics: readonly MetricName[]
  },
): Promise<MeasuredPair[]> {
  const alone = options.metrics.filter((metric) => !isComparing(metric))
  const { batches, denseBatches } = options
  const own = { ...options, batches: denseBatches ?? batches, metrics: alone }
  const before = alone.length > 0 ? await evaluate(dense, own) : []
  const after = await evaluate(pruned, {
    ...options,
    reference: dense,
    referenceBatches: denseBatches,
  })
  return after.map((each) => ({
    before: before.find(({ metric }) => metric === each.metric),
    after: each,
  }))
}
