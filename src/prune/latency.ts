/** How long a cut model takes beside the original, on the machine, provider and shape of the user. */
import { bench } from '../bench/bench.js'
import type { Ratio } from '../bench/statistics.js'
import { readHostConfig } from '../generate/host-config.js'
import type { LoadedModel } from '../model-folder/load.js'
import type { RunOptions } from '../runtime/batches.js'
import { materialise } from '../runtime/materialise.js'
import type { LatencyShape } from './target.js'

export interface Latency {
  /** Median milliseconds. */
  readonly before: number
  readonly after: number
  /** Of turns, pair by pair. */
  readonly ratio: Ratio
}

/** Turns of one measurement, and for how long further ones begin. */
const pace = { runs: 40, seconds: 10, warmUp: 3 }

export async function measureLatency(
  source: LoadedModel,
  cut: LoadedModel,
  shape: LatencyShape,
  options: RunOptions,
): Promise<Latency> {
  const { positions = 512 } = readHostConfig(source.folder)
  const file = materialise(cut.model)
  try {
    const { models, ratios } = await bench([source, { ...cut, path: file.path }], {
      ...options,
      ...pace,
      batchSize: shape.batchSize,
      sequenceLength: shape.sequenceLength ?? Math.min(512, positions),
      decodeTokens: 0,
      memory: false,
      single: true,
    })
    const [before, after] = models.map(({ prefill }) => prefill.median)
    if (!ratios || before === undefined || after === undefined)
      throw new RangeError('no two models')
    return { before, after, ratio: ratios.prefill }
  } finally {
    file.dispose()
  }
}
