/**
 * Sharing the budget between choices. Each has a curve of error against parameters removed; the
 * cheapest stretch of any lower convex hull is taken next, until the parameters asked for are gone.
 */
import type { Demand } from '../plan/pass.js'
import { type Choice, type PrunableBlock, parametersOfAll } from './prunable.js'

/** What a unit of a choice costs. */
export type UnitCost = (choice: Choice) => number

export const parametersOf: UnitCost = ({ parametersPerUnit }) => parametersPerUnit

export interface Curve {
  readonly choice: Choice
  /** Error after dropping 1, 2, … units. */
  readonly errors: readonly number[]
}

interface Stretch {
  readonly choice: Choice
  readonly from: number
  readonly to: number
  readonly slope: number
}

/**
 * How many units each choice loses so that `budget` parameters, or what `costOf` says, go, within
 * half a unit; with `roundTo`, the neurons that stay are multiples of it, and the budget is met
 * within half a step. What `least` asks for goes first, and counts.
 */
export function allocate(
  curves: readonly Curve[],
  budget: number,
  roundTo = 1,
  least?: Demand['least'],
  costOf: UnitCost = parametersOf,
): Map<Choice, number> {
  const first = least ? allocateLeast(curves, least) : new Map<Choice, number>()
  let counts = new Map<Choice, number>()
  let asked = budget
  // Heads and value members of one block share parameters: ask for more until enough are gone.
  for (let round = 0; round < 8; round++) {
    counts = takeCheapest(curves, asked, { from: first, costOf })
    const missing = budget - removedCost(counts, costOf)
    if (missing <= 0 || Math.abs(missing) < 1e-4 * budget) break
    asked += missing
  }
  roundCounts(counts, roundTo)
  settle(curves, counts, budget, { roundTo, costOf })
  return counts
}

/** Neurons, which share nothing with others, come or go a step at a time until the budget is met. */
function settle(
  curves: readonly Curve[],
  counts: Map<Choice, number>,
  budget: number,
  { roundTo, costOf }: { readonly roundTo: number; readonly costOf: UnitCost },
): void {
  const own = curves.filter(({ choice }) => isRounded(choice))
  let missing = budget - removedCost(counts, costOf)
  for (;;) {
    const isMore = missing > 0
    let best: { choice: Choice; count: number; cost: number } | undefined
    let least = Number.POSITIVE_INFINITY
    for (const { choice, errors } of own) {
      const before = counts.get(choice) ?? 0
      const count = nextCount(choice, before, isMore, roundTo)
      if (count === undefined || count > errors.length) continue
      const cost = Math.abs(count - before) * costOf(choice)
      if (Math.abs(missing) <= cost / 2) continue
      const error = (errors[count - 1] ?? 0) - (errors[before - 1] ?? 0)
      const slope = error / cost
      if (slope < least) {
        least = slope
        best = { choice, count, cost }
      }
    }
    if (!best) return
    counts.set(best.choice, best.count)
    missing -= (isMore ? 1 : -1) * best.cost
  }
}

/** The next count up or down after which a multiple stays, or everything. */
function nextCount(
  choice: Choice,
  count: number,
  isMore: boolean,
  roundTo: number,
): number | undefined {
  const step = stepOf(choice, roundTo)
  const all = choice.units.length
  const kept = all - count
  const next = isMore
    ? (Math.ceil(kept / step) - 1) * step
    : Math.min(all, (Math.floor(kept / step) + 1) * step)
  return next <= 0 || next === kept ? undefined : all - next
}

const isRounded = ({ block, frame }: Choice): boolean => !frame && block.kind !== 'attention'

/** Neurons that come or go together; units of a quantised weight are several already. */
const stepOf = ({ dimension }: Choice, roundTo: number): number =>
  Math.max(1, Math.round(roundTo / (dimension?.granularity ?? 1)))

/** Fewer or more, so that the widths that stay are multiples of `roundTo`. */
export function roundCounts(counts: Map<Choice, number>, roundTo: number): void {
  for (const [choice, count] of counts) {
    const all = choice.units.length
    const step = stepOf(choice, roundTo)
    if (!isRounded(choice) || step === 1 || count === 0) continue
    const kept = Math.max(step, Math.round((all - count) / step) * step)
    counts.set(choice, all - Math.min(kept, all))
  }
}

/** The cheapest units that together cost `amount` at least. */
function allocateLeast(
  curves: readonly Curve[],
  { costs, amount }: NonNullable<Demand['least']>,
): Map<Choice, number> {
  const costOf = ({ dimension, units }: Choice): number =>
    ((costs.get(dimension.id) ?? 0) * dimension.size) / units.length
  const priced = curves.filter(({ choice }) => !choice.frame && costOf(choice) > 0)
  return takeCheapest(priced, amount, { costOf, isAtLeast: true })
}

interface Taking {
  /** Units that are gone already; what they cost counts. */
  readonly from?: ReadonlyMap<Choice, number>
  /** Of a unit; its parameters by default. */
  readonly costOf?: UnitCost
  /** Else half a unit may lack. */
  readonly isAtLeast?: boolean
}

function takeCheapest(
  curves: readonly Curve[],
  budget: number,
  { from: first, costOf = parametersOf, isAtLeast }: Taking,
): Map<Choice, number> {
  const counts = new Map<Choice, number>(
    curves.map(({ choice }) => [choice, first?.get(choice) ?? 0]),
  )
  let left = budget
  for (const [choice, count] of counts) left -= count * costOf(choice)
  const stretches = curves
    .flatMap((curve) => hull(curve, counts.get(curve.choice) ?? 0, costOf(curve.choice)))
    .sort((a, b) => a.slope - b.slope)
  for (const { choice, from, to } of stretches) {
    // A stretch that was not taken whole ends its curve.
    if (counts.get(choice) !== from || left <= 0) continue
    const each = costOf(choice)
    const wanted = Math.min(to - from, Math.ceil(left / each))
    // A unit larger than what is left would overshoot: take it only if that is nearer.
    const taken = !isAtLeast && wanted * each - left > each / 2 ? wanted - 1 : wanted
    counts.set(choice, from + taken)
    left -= taken * each
  }
  return counts
}

export const removedParameters = (counts: ReadonlyMap<Choice, number>): number =>
  removedCost(counts, parametersOf)

/** What goes, what heads and value members of a block share counted once. */
export function removedCost(counts: ReadonlyMap<Choice, number>, costOf: UnitCost): number {
  let sum = 0
  for (const [choice, count] of counts) {
    const lost = count * costOf(choice)
    const heads = choice.frame && choice.block.choices.find(isHeads)
    const share = heads ? (counts.get(heads) ?? 0) / heads.units.length : 0
    sum += lost * (1 - share)
  }
  return sum
}

/** Whether heads are chosen from, and not members of their values or neurons. */
export const isHeads = ({ frame, dimension }: Choice): boolean =>
  !frame && dimension.role !== 'width'

/** What goes when all heads and neurons of the blocks go; parameters, if nothing else is said. */
export function blockCost(
  blocks: readonly PrunableBlock[],
  costOf: UnitCost = parametersOf,
): number {
  const counted = blocks.flatMap(({ choices }) => {
    const whole = choices.filter(({ frame }) => !frame)
    // Where no head can go, the members of the values are all there is of attention.
    return whole.some(isHeads) ? whole : choices
  })
  const sum = counted.reduce((all, choice) => all + costOf(choice) * choice.units.length, 0)
  // Heads that the next layer's heads are made of share a weight with them.
  return costOf === parametersOf ? Math.min(sum, parametersOfAll(counted)) : sum
}

/** The lower convex hull of a curve from `first` units on. */
function hull({ choice, errors }: Curve, first: number, each: number): Stretch[] {
  const points = [0, ...errors].map((y, x) => ({ x, y })).slice(first)
  const lower: { x: number; y: number }[] = []
  for (const point of points) {
    for (let a = lower.at(-2), b = lower.at(-1); a && b; a = lower.at(-2), b = lower.at(-1)) {
      if ((b.y - a.y) * (point.x - a.x) < (point.y - a.y) * (b.x - a.x)) break
      lower.pop()
    }
    lower.push(point)
  }
  return lower.slice(1).map((point, index) => {
    const before = lower[index] as { x: number; y: number }
    const run = (point.x - before.x) * each
    return { choice, from: before.x, to: point.x, slope: (point.y - before.y) / run }
  })
}
