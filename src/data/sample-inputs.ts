/** One small batch of seeded inputs for any model: enough to see whether, and what, it answers. */
import type { Model } from '../graph/graph.js'
import type { Batch } from './batch.js'
import { portsOf } from './open-data.js'
import { areTokens, randomBatches } from './random.js'

/** Tokens of a row; signals and pictures of unknown size need more to pass their convolutions. */
const lengths = { tokens: 16, others: 512 }

export function sampleInputs(
  model: Model,
  options: { readonly vocabulary: number | undefined; readonly seed: number },
): Batch {
  const inputs = portsOf(model)
  const sequenceLength = areTokens(inputs) ? lengths.tokens : lengths.others
  const size = { sequenceLength, batchSize: 2, samples: 2 }
  return randomBatches({ inputs, ...size, ...options })[0] as Batch
}
