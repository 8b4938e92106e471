/**
 * The variational information bottleneck of multiplicative Gaussian masks z = μ + σ·ε (VIBNet, Dai et
 * al. 2018): its price ½·Σ log(1 + μ²/σ²), and how many units it keeps as a soft count. As
 * plain numbers, with derivatives; penalties.ts has the same as nodes.
 */

/** log σ² − log μ²: a unit stays where it is below zero. The published code's `logalpha`. */
export const logAlpha = (mean: number, logVariance: number): number =>
  logVariance - Math.log(mean * mean + EPSILON)

export const EPSILON = 1e-8
/** How sharply the soft count tells units apart at the end. */
export const STEEPEST = 10

/** ½·log(1 + μ²/σ²) of one unit, with its derivatives by μ and by log σ². */
export function divergence(mean: number, logVariance: number) {
  const variance = Math.exp(logVariance)
  const floored = variance + EPSILON
  const sum = mean * mean + floored
  return {
    value: 0.5 * Math.log(1 + (mean * mean) / floored),
    byMean: mean / sum,
    byLogVariance: (-0.5 * mean * mean * variance) / (floored * sum),
  }
}

/** Between 0 and 1: whether a unit stays, with its derivatives. */
export function softKeep(mean: number, logVariance: number, slope = STEEPEST) {
  const value = 1 / (1 + Math.exp(slope * logAlpha(mean, logVariance)))
  const steep = slope * value * (1 - value)
  return {
    value,
    byMean: (steep * 2 * mean) / (mean * mean + EPSILON),
    byLogVariance: -steep,
  }
}
