/** One small batch of seeded inputs for any model: enough to see whether, and what, it answers. */
import type { Model } from '../graph/graph.js'
import type { Batch } from './batch.js'
import { portsOf } from './open-data.js'
import { areTokens, randomBatches } from './random.js'

/** Tokens of a row; signals and pictures of unknown size need more to pass their convolutions. */
const lengths = { tokens: 16, others: 512 }

interface SampleOptions {
  readonly vocabulary: number | undefined
  readonly seed: number
}

export const sampleInputs = (model: Model, options: SampleOptions): Batch =>
  sampleOf(model, options, areTokens(portsOf(model)) ? lengths.tokens : lengths.others)

/** The same at the other length: what is fed beside tokens may be as short as they have to be. */
export const otherInputs = (model: Model, options: SampleOptions): Batch =>
  sampleOf(model, options, areTokens(portsOf(model)) ? lengths.others : lengths.tokens)

function sampleOf(model: Model, options: SampleOptions, sequenceLength: number): Batch {
  const size = { sequenceLength, batchSize: 2, samples: 2 }
  return randomBatches({ inputs: portsOf(model), ...size, ...options })[0] as Batch
}
