/**
 * What a cut model costs beside the original where that has to be run for: time, tokens a second, peak
 * memory, on the machine, provider and shape of the user.
 */
import { type BenchEntry, bench } from '../bench/bench.js'
import type { MeasuredCost, RunShape } from '../bench/cost.js'
import type { Ratio } from '../bench/statistics.js'
import { readHostConfig } from '../generate/host-config.js'
import type { LoadedModel } from '../model-folder/load.js'
import type { RunOptions } from '../runtime/batches.js'
import { materialise } from '../runtime/materialise.js'

export interface CostPair {
  /** Median milliseconds, tokens (or rows) a second, or bytes. */
  readonly before: number
  readonly after: number
  /** Cut ÷ original, of turns pair by pair; what was measured once has no width. */
  readonly ratio: Ratio
}

/** Turns of one measurement, and for how long further ones begin. */
const pace = { runs: 40, seconds: 10, warmUp: 3 }
/** Throughput is asked for where rows wait for each other. */
const throughputBatch = 8

/** The cut model is written aside and run in turns with the original, which lies where it was read. */
export async function measureCost(
  cost: MeasuredCost,
  [source, cut]: readonly [LoadedModel, LoadedModel],
  shape: RunShape,
  options: RunOptions,
): Promise<CostPair> {
  const { positions = 512 } = readHostConfig(source.folder)
  const batchSize = shape.batchSize ?? (cost === 'throughput' ? throughputBatch : 1)
  const sequenceLength = shape.sequenceLength ?? Math.min(512, positions)
  const isMemory = cost === 'memory'
  const file = materialise(cut.model)
  try {
    const { models, ratios } = await bench([source, { ...cut, path: file.path }], {
      ...options,
      ...(isMemory ? { runs: 1, warmUp: 0 } : pace),
      batchSize,
      sequenceLength,
      decodeTokens: 0,
      memory: isMemory,
      single: true,
    })
    const [before, after] = models.map((entry) => amountOf(cost, entry, batchSize))
    if (!ratios || before === undefined || after === undefined)
      throw new RangeError('no two models')
    const share = after / before
    if (isMemory) return { before, after, ratio: { ratio: share, low: share, high: share } }
    return { before, after, ratio: cost === 'latency' ? ratios.prefill : inverse(ratios.prefill) }
  } finally {
    file.dispose()
  }
}

function amountOf(cost: MeasuredCost, entry: BenchEntry, rows: number): number {
  const { prefill, prefillTokensPerSecond, memory } = entry
  if (cost === 'latency') return prefill.median
  if (cost === 'memory') return memory?.peakBytes ?? Number.NaN
  return prefillTokensPerSecond ?? (1000 * rows) / prefill.median
}

const inverse = ({ ratio, low, high }: Ratio): Ratio => ({
  ratio: 1 / ratio,
  low: 1 / high,
  high: 1 / low,
})
