/**
 * What a cut model costs beside the original where that has to be run for: time, tokens a second, peak
 * memory, on the machine, provider and shape of the user.
 */
import { type BenchEntry, bench } from '../bench/bench.js'
import type { CostName, MeasuredCost, RunShape } from '../bench/cost.js'
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
  /** Where other programs make time a matter of luck, processor time stands for it. */
  readonly clock: Clock
}

export type Clock = 'wall' | 'processor'

/** Turns of one measurement, and for how long further ones begin. */
const pace = { runs: 200, seconds: 12, warmUp: 3 }
/** An interval of this width is as narrow as targets are met. */
const sure = 0.06
/** Throughput is asked for where rows wait for each other. */
const throughputBatch = 8

/** What a shape leaves open is chosen as `bench` does, and eight rows for throughput. */
export function runSize(
  cost: CostName,
  { folder }: LoadedModel,
  { batchSize, sequenceLength }: RunShape,
) {
  const { positions = 512 } = readHostConfig(folder)
  return {
    batchSize: batchSize ?? (cost === 'throughput' ? throughputBatch : 1),
    sequenceLength: sequenceLength ?? Math.min(512, positions),
  }
}

/** The cut model is written aside and run in turns with the original, which lies where it was read. */
export async function measureCost(
  cost: MeasuredCost,
  [source, cut]: readonly [LoadedModel, LoadedModel],
  shape: RunShape,
  options: RunOptions,
): Promise<CostPair> {
  const size = runSize(cost, source, shape)
  const isMemory = cost === 'memory'
  const file = materialise(cut.model)
  try {
    const { models, ratios } = await bench([source, { ...cut, path: file.path }], {
      ...options,
      ...(isMemory ? { runs: 1, warmUp: 0 } : pace),
      ...size,
      decodeTokens: 0,
      memory: isMemory,
      single: true,
    })
    const [before, after] = models.map((entry) => amountOf(cost, entry, size.batchSize))
    if (!ratios || before === undefined || after === undefined)
      throw new RangeError('no two models')
    const share = after / before
    if (isMemory)
      return { before, after, ratio: { ratio: share, low: share, high: share }, clock: 'wall' }
    const { ratio, clock } = surer(ratios.prefill, ratios.processorTime)
    const found = cost === 'latency' ? ratio : inverse(ratio)
    return { before, after: clock === 'wall' ? after : before * found.ratio, ratio: found, clock }
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

/** Time, unless it is known less well than it has to be and processor time is known better. */
function surer(wall: Ratio, processor: Ratio | null): { ratio: Ratio; clock: Clock } {
  const width = ({ ratio, low, high }: Ratio): number => (high - low) / ratio
  return !processor || width(wall) <= sure || width(wall) <= width(processor)
    ? { ratio: wall, clock: 'wall' }
    : { ratio: processor, clock: 'processor' }
}

const inverse = ({ ratio, low, high }: Ratio): Ratio => ({
  ratio: 1 / ratio,
  low: 1 / high,
  high: 1 / low,
})
