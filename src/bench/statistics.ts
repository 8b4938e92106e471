/** Times as a median with its spread, and two rows of times as a ratio with what it is sure to within. */
import { generator } from '../data/generator.js'

export interface Spread {
  readonly median: number
  readonly firstQuartile: number
  readonly thirdQuartile: number
  readonly least: number
  readonly most: number
  readonly runs: number
}

export interface Ratio {
  /** Median of second ÷ first over the pairs. */
  readonly ratio: number
  /** 95 % of resampled medians lie between these. */
  readonly low: number
  readonly high: number
}

/** Quantile `share` of numbers in ascending order, between neighbours where it falls between them. */
export function quantile(sorted: readonly number[], share: number): number {
  const at = (sorted.length - 1) * share
  const below = sorted[Math.floor(at)] ?? Number.NaN
  const above = sorted[Math.ceil(at)] ?? Number.NaN
  return below + (above - below) * (at - Math.floor(at))
}

export function spreadOf(values: readonly number[]): Spread {
  const sorted = ascending(values)
  return {
    median: quantile(sorted, 0.5),
    firstQuartile: quantile(sorted, 0.25),
    thirdQuartile: quantile(sorted, 0.75),
    least: quantile(sorted, 0),
    most: quantile(sorted, 1),
    runs: values.length,
  }
}

const RESAMPLES = 2000

/**
 * Ratio of pairs that ran one after the other, so that what slows the machine down slows both of a
 * pair. The interval is a percentile bootstrap over pairs.
 */
export function pairedRatio(
  first: readonly number[],
  second: readonly number[],
  seed: number,
): Ratio {
  const ratios = second.map((value, index) => value / (first[index] as number))
  const next = generator(seed)
  const medians = Array.from({ length: RESAMPLES }, () =>
    quantile(
      ascending(ratios.map(() => ratios[Math.floor(next() * ratios.length)] as number)),
      0.5,
    ),
  )
  const sorted = ascending(medians)
  return {
    ratio: quantile(ascending(ratios), 0.5),
    low: quantile(sorted, 0.025),
    high: quantile(sorted, 0.975),
  }
}

const ascending = (values: readonly number[]): number[] => values.toSorted((a, b) => a - b)
