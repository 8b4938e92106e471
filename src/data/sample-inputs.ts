/** One small batch of seeded inputs for any model: enough to see whether, and what, it answers. */
import type { Model } from '../graph/graph.js'
import { type Batch, isPicturePort } from './batch.js'
import { portsOf } from './open-data.js'
import { areTokens, randomBatches } from './random.js'

/** Tokens of a row; signals of unknown size need more to pass their convolutions. */
const lengths = { tokens: 16, others: 512 }

/** Sides of pictures: what most models are made for, and little ones. */
const sides = [224, 32] as const

interface SampleOptions {
  readonly vocabulary: number | undefined
  readonly seed: number
}

export const sampleInputs = (model: Model, options: SampleOptions): Batch =>
  sampleOf(model, options, lengthsOf(model)[0])

/** The same at the other length: what is fed beside tokens may be as short as they have to be. */
export const otherInputs = (model: Model, options: SampleOptions): Batch =>
  sampleOf(model, options, lengthsOf(model)[1])

function lengthsOf(model: Model): readonly [number, number] {
  const inputs = portsOf(model)
  const { tokens, others } = lengths
  if (inputs.some(isPicturePort)) return sides
  return areTokens(inputs) ? [tokens, others] : [others, tokens]
}

function sampleOf(model: Model, options: SampleOptions, sequenceLength: number): Batch {
  const size = { sequenceLength, batchSize: 2, samples: 2 }
  return randomBatches({ inputs: portsOf(model), ...size, ...options })[0] as Batch
}
