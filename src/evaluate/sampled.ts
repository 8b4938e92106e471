/**
 * A metric taken apart into samples, so that it can be told what it would be with other samples: what
 * the intervals of confidence.ts need. Two models run on the same data have the same samples, and are
 * weighted alike.
 */
import { rocAuc } from './metrics.js'

export interface Sampled {
  /** Rows; of a text, stretches of its windows. */
  readonly count: number
  /** Each sample is right or wrong: where no sample differs, that says little about the next. */
  readonly isCounted: boolean
  /** The metric where sample `i` counts `weights[i]` times. */
  weighted(weights: ArrayLike<number>): number
}

/** A mean over rows. */
export const meanOf = (values: ArrayLike<number>, isCounted = false): Sampled => ({
  count: values.length,
  isCounted,
  weighted: (weights) => weightedSum(values, weights) / total(weights),
})

/** exp of the mean loss of a token: sums of losses, and tokens, of each sample. */
export const perplexityOf = (losses: ArrayLike<number>, tokens: ArrayLike<number>): Sampled => ({
  count: losses.length,
  isCounted: false,
  weighted: (weights) => Math.exp(weightedSum(losses, weights) / weightedSum(tokens, weights)),
})

/** The area under the ROC curve; sorted once, since sorting what is sorted costs little. */
export function areaOf(scores: readonly number[], labels: readonly number[]): Sampled {
  const order = [...scores.keys()].sort((a, b) => (scores[a] as number) - (scores[b] as number))
  const sorted = order.map((row) => scores[row] as number)
  const theirs = order.map((row) => labels[row] as number)
  return {
    count: scores.length,
    isCounted: false,
    weighted: (weights) =>
      rocAuc(
        sorted,
        theirs,
        order.map((row) => weights[row] as number),
      ),
  }
}

const total = (weights: ArrayLike<number>): number => weightedSum(weights, undefined)

function weightedSum(values: ArrayLike<number>, weights: ArrayLike<number> | undefined): number {
  let sum = 0
  for (let i = 0; i < values.length; i++) sum += (values[i] as number) * (weights?.[i] ?? 1)
  return sum
}
