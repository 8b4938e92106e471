/**
 * How sure a number is that was measured on samples: 95 % intervals by the jackknife (Quenouille 1956,
 * Tukey 1958). Samples are left out group by group, groups being neighbours, since neighbours are alike;
 * the spread of what is left gives a t interval. It takes any smooth function of the samples, a ratio of
 * two models as well as one mean, and draws nothing by chance.
 */

export interface Interval {
  readonly low: number
  readonly high: number
}

/** Groups that are left out at most. */
const mostGroups = 200
/** Fewer samples say nothing about how much they vary. */
const leastSamples = 8

/** undefined where there are too few samples, or some group can't be left out. */
export function jackknife(
  count: number,
  statistic: (weights: Float64Array) => number,
): Interval | undefined {
  if (count < leastSamples) return undefined
  const groups = Math.min(count, mostGroups)
  const weights = new Float64Array(count).fill(1)
  const whole = statistic(weights)
  const pseudo = Array.from({ length: groups }, (_, group) => {
    const from = Math.floor((group * count) / groups)
    const to = Math.floor(((group + 1) * count) / groups)
    weights.fill(0, from, to)
    const rest = statistic(weights)
    weights.fill(1, from, to)
    // Groups may differ by a sample.
    const share = (to - from) / count
    return (whole - (1 - share) * rest) / share
  })
  const mean = pseudo.reduce((sum, each) => sum + each, 0) / groups
  const squares = pseudo.reduce((sum, each) => sum + (each - mean) ** 2, 0)
  const half = studentQuantile(groups - 1) * Math.sqrt(squares / (groups - 1) / groups)
  return Number.isFinite(half) ? { low: whole - half, high: whole + half } : undefined
}

/**
 * An interval of right and wrong answers, no narrower than what 3 samples of `count` can move: where
 * none of n differs, up to 3/n may (Hanley and Lippman-Hand 1983, "If nothing goes wrong, is everything
 * all right?").
 */
export function atLeastThree({ low, high }: Interval, step: number): Interval {
  const middle = (low + high) / 2
  const half = Math.max((high - low) / 2, 3 * step)
  return { low: middle - half, high: middle + half }
}

/** The 97.5 % quantile of Student's t (Abramowitz and Stegun 26.7.5; to 0.001 from 7 degrees on). */
export function studentQuantile(freedom: number): number {
  const z = 1.959963984540054
  const terms = [
    (z ** 3 + z) / 4,
    (5 * z ** 5 + 16 * z ** 3 + 3 * z) / 96,
    (3 * z ** 7 + 19 * z ** 5 + 17 * z ** 3 - 15 * z) / 384,
  ]
  return terms.reduce((sum, term, index) => sum + term / freedom ** (index + 1), z)
}
