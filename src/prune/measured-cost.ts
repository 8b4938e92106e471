/**
 * What a cut model costs beside the original where that has to be run for: time, tokens a second, peak
 * memory, on the machine, provider and shape of the user.
 */
import { type BenchEntry, bench, inputsOf } from '../bench/bench.js'
import type { CostName, MeasuredCost, RunShape } from '../bench/cost.js'
import { measureMemory } from '../bench/memory.js'
import { type Ratio, spreadOf } from '../bench/statistics.js'
import { readHostConfig } from '../generate/host-config.js'
import { readModel } from '../model/model.js'
import type { LoadedModel } from '../model-folder/load.js'
import type { RunOptions } from '../runtime/batches.js'
import { materialise } from '../runtime/materialise.js'

export interface CostPair {
  /** Median milliseconds, tokens (or rows) a second, or bytes. */
  readonly before: number
  readonly after: number
  /** Cut ÷ original, of turns pair by pair. */
  readonly ratio: Ratio
  /** Where other programs make time a matter of luck, processor time stands for it. */
  readonly clock: Clock
}

export type Clock = 'wall' | 'processor'

/** Turns of one measurement, and for how long further ones begin. */
const pace = { runs: 200, seconds: 12, warmUp: 3 }
/** An interval of this width is as narrow as targets are met. */
const sure = 0.06
/** Processes are started for each. */
const memoryTurns = 3
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
  const file = materialise(cut.model)
  try {
    const pair = [source, { ...cut, path: file.path }] as const
    if (cost === 'memory') return await measurePeaks(pair, size, options)
    const { models, ratios } = await bench(pair, {
      ...options,
      ...pace,
      ...size,
      decodeTokens: 0,
      memory: false,
      single: true,
    })
    const [before, after] = models.map((entry) => amountOf(cost, entry, size.batchSize))
    if (!ratios || before === undefined || after === undefined)
      throw new RangeError('no two models')
    const { ratio, clock } = surer(ratios.prefill, ratios.processorTime)
    const found = cost === 'latency' ? ratio : inverse(ratio)
    return { before, after: clock === 'wall' ? after : before * found.ratio, ratio: found, clock }
  } finally {
    file.dispose()
  }
}

/** Peaks hardly differ between runs: of a few turns the middle, between the least and the most. */
async function measurePeaks(
  pair: readonly [LoadedModel, LoadedModel],
  size: ReturnType<typeof runSize>,
  options: RunOptions,
): Promise<CostPair> {
  const { provider = 'cpu', threads, signal, log } = options
  const vocabulary = Math.min(...pair.map(({ model }) => vocabularyOf(model)))
  const batches = await Promise.all(
    pair.map((each) => inputsOf(each, vocabulary, { ...options, ...size })),
  )
  const peaks: number[][] = pair.map(() => [])
  for (let turn = 0; turn < memoryTurns; turn++)
    for (const [index, { path }] of pair.entries()) {
      const { feeds } = batches[index] ?? { feeds: {} }
      const { peakBytes } = await measureMemory({ path, provider, threads, feeds }, signal)
      peaks[index]?.push(peakBytes)
      log.progress('measuring memory', turn * 2 + index + 1, memoryTurns * 2)
    }
  const [before, after] = peaks.map((all) => spreadOf(all).median) as [number, number]
  const { median, least, most } = spreadOf(
    (peaks[1] ?? []).map((peak, turn) => peak / (peaks[0]?.[turn] ?? Number.NaN)),
  )
  return { before, after, ratio: { ratio: median, low: least, high: most }, clock: 'wall' }
}

const vocabularyOf = ({ graph }: LoadedModel['model']): number =>
  readModel(graph).vocabulary ?? Number.POSITIVE_INFINITY

function amountOf(cost: Exclude<MeasuredCost, 'memory'>, entry: BenchEntry, rows: number): number {
  const { prefill, prefillTokensPerSecond } = entry
  if (cost === 'latency') return prefill.median
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
