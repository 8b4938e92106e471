/**
 * Sharing the budget between blocks. Each block has a curve of error against parameters removed; the
 * cheapest stretch of any lower convex hull is taken next, until the parameters asked for are gone.
 */
import type { PrunableBlock } from './block.js'

export interface Curve {
  readonly block: PrunableBlock
  /** Error after dropping 1, 2, … units. */
  readonly errors: readonly number[]
}

interface Stretch {
  readonly curve: Curve
  readonly from: number
  readonly to: number
  readonly slope: number
}

/** How many units each block loses so that at least `budget` parameters go. */
export function allocate(curves: readonly Curve[], budget: number): Map<PrunableBlock, number> {
  const counts = new Map<PrunableBlock, number>(curves.map(({ block }) => [block, 0]))
  const stretches = curves.flatMap(hull).sort((a, b) => a.slope - b.slope)
  let left = budget
  for (const { curve, from, to } of stretches) {
    if (left <= 0) break
    const each = unitParameters(curve.block)
    const wanted = Math.min(to - from, Math.ceil(left / each))
    // A unit larger than what is left would overshoot: take it only if that is nearer.
    const taken = wanted * each - left > each / 2 ? wanted - 1 : wanted
    counts.set(curve.block, from + taken)
    left -= taken * each
  }
  return counts
}

/** The same share of every block. */
export function allocateUniform(
  blocks: readonly PrunableBlock[],
  ratio: number,
): Map<PrunableBlock, number> {
  return new Map(
    blocks.map((block) => [
      block,
      Math.min(roundHalfEven(ratio * block.units.length), block.units.length - 1),
    ]),
  )
}

/** Python's rounding, which the published code uses (amp.md §2.5). */
export function roundHalfEven(value: number): number {
  const floor = Math.floor(value)
  const rest = value - floor
  if (rest !== 0.5) return Math.round(value)
  return floor % 2 === 0 ? floor : floor + 1
}

export const unitParameters = ({ dimension, units }: PrunableBlock): number =>
  (dimension.parametersPerMember * dimension.size) / units.length

function hull(curve: Curve): Stretch[] {
  const points = [{ x: 0, y: 0 }, ...curve.errors.map((y, index) => ({ x: index + 1, y }))]
  const lower: { x: number; y: number }[] = []
  for (const point of points) {
    for (let a = lower.at(-2), b = lower.at(-1); a && b; a = lower.at(-2), b = lower.at(-1)) {
      if ((b.y - a.y) * (point.x - a.x) < (point.y - a.y) * (b.x - a.x)) break
      lower.pop()
    }
    lower.push(point)
  }
  const each = unitParameters(curve.block)
  return lower.slice(1).map((point, index) => {
    const before = lower[index] as { x: number; y: number }
    const slope = (point.y - before.y) / ((point.x - before.x) * each)
    return { curve, from: before.x, to: point.x, slope }
  })
}
