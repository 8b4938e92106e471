/**
 * Which units stay: those whose masks are surest (lowest log α), with one threshold for the whole model
 * that meets the budget by the hard count, after widths were rounded. Units are picked by their index in
 * the order of log α, never by comparing with a rounded threshold.
 */
import { AttncError } from '../../src/errors.js'
import { logAlpha } from './bottleneck.js'
import { type Mask, type MaskSet, wholeOf } from './masks.js'
import type { VtransOptions } from './options.js'
import { type Resource, shareLeft } from './resource.js'

export interface Selection {
  readonly mask: Mask
  /** Units that stay, ascending. */
  readonly kept: readonly number[]
  /** All units, those that go first. */
  readonly order: readonly number[]
}

interface Ranked {
  readonly mask: Mask
  /** log α of every unit. */
  readonly scores: Float64Array
  /** Units by log α, surest first. */
  readonly order: readonly number[]
}

/** Masks as they are now. */
export interface MaskValues {
  readonly set: MaskSet
  /** What is to be saved, each by the ratio. */
  readonly resources: readonly Resource[]
  /** [units] */
  readonly means: Float32Array
  readonly logVariances: Float32Array
}

/** How many units of each mask stay in the model: of a block that goes whole its one unit, which writes zero. */
export const countsOf = (selected: readonly Selection[]): number[] =>
  selected.map(({ mask, kept }) => (mask.isWhole ? 1 : kept.length))

/**
 * Keeps at most 1 − ratio of every resource, and one unit of each mask. A block whose own mask goes keeps as
 * few units as it can.
 */
export function selectUnits(
  { set, resources, means, logVariances }: MaskValues,
  { ratio, roundTo }: { readonly ratio: number; readonly roundTo: number },
): Selection[] {
  const ranked = set.masks.map((mask) => rank(mask, means, logVariances))
  const meets = (counts: readonly number[]): boolean => shareLeft(resources, counts) <= 1 - ratio
  const wholes = set.masks.map((mask) => ranked[wholeOf(set.masks, mask)])
  const isThere = (index: number, threshold: number): boolean =>
    ((wholes[index]?.scores[0] ?? Number.NEGATIVE_INFINITY) as number) < threshold
  const countAt = (
    { mask, scores }: Ranked,
    index: number,
    threshold: number,
    ofBlocks: number,
  ): number => {
    if (mask.isWhole) return 1
    if (!isThere(index, ofBlocks)) return roundedCount(mask, 0, roundTo)
    const below = scores.reduce((sum, score) => sum + Number(score < threshold), 0)
    return roundedCount(mask, below, roundTo)
  }
  const first = highest(
    (threshold) => ranked.map((each, index) => countAt(each, index, threshold, threshold)),
    meets,
  )
  // A head is many parameters, and a block more: what the budget has left by them goes to the others.
  const { counts: second } = highest(
    (threshold) =>
      ranked.map((each, index) =>
        isHeads(each.mask)
          ? (first.counts[index] as number)
          : countAt(each, index, threshold, first.threshold),
      ),
    meets,
  )
  return ranked.map(({ mask, order }, index) => {
    const count = mask.isWhole ? Number(isThere(index, first.threshold)) : second[index]
    return {
      mask,
      kept: order.slice(0, count).toSorted((a, b) => a - b),
      order: order.toReversed(),
    }
  })
}

/** Error: RATIO_UNREACHABLE where the least that has to stay of every mask is more than the ratio leaves. */
export function assertReachable(
  masks: readonly Mask[],
  resources: readonly Resource[],
  { ratio, roundTo }: Pick<VtransOptions, 'ratio' | 'roundTo'>,
): void {
  const least = leastCounts(masks, roundTo)
  const saved = resources.map((each) => ({
    ...each,
    most: each.total > 0 ? 1 - shareLeft([each], least) : 0,
  }))
  const { most, unit } = saved.reduce((one, other) => (other.most < one.most ? other : one))
  if (ratio <= most) return
  const percent = (share: number): string => `${(100 * share).toFixed(1)} %`
  throw new AttncError(
    'RATIO_UNREACHABLE',
    'budget',
    `${percent(ratio)} of the ${unit === 'microseconds' ? 'time' : unit} of the blocks can't go: with one head and as few neurons as they are rounded to in every layer, ${percent(most)} would be saved.`,
    {
      suggestions: [
        `Ask for less: --ratio ${Math.max(0, Math.floor(100 * most) / 100)} at most.`,
        ...(unit === 'microseconds'
          ? ['Time it again on a machine that does nothing else.']
          : ['Take a smaller --round-to.']),
      ],
    },
  )
}

/** What has to stay of every mask. */
export const leastCounts = (masks: readonly Mask[], roundTo: number): number[] =>
  masks.map((mask) => (mask.isWhole ? 1 : roundedCount(mask, 0, roundTo)))

interface Highest {
  readonly counts: readonly number[]
  readonly threshold: number
}

/** The counts at the highest threshold that meets the budget. */
function highest(
  countsAt: (threshold: number) => number[],
  meets: (counts: readonly number[]) => boolean,
): Highest {
  let [low, high] = [-100, 100]
  for (let round = 0; round < 60; round++) {
    const middle = (low + high) / 2
    if (meets(countsAt(middle))) low = middle
    else high = middle
  }
  return { counts: countsAt(low), threshold: low }
}

const isHeads = ({ dimension }: Mask): boolean =>
  dimension.role === 'keyValueHeads' || dimension.role === 'queryGroups'

function rank(mask: Mask, means: Float32Array, logVariances: Float32Array): Ranked {
  const scores = Float64Array.from({ length: mask.size }, (_, unit) =>
    logAlpha(means[mask.offset + unit] as number, logVariances[mask.offset + unit] as number),
  )
  const order = [...scores.keys()].sort(
    (a, b) => (scores[a] as number) - (scores[b] as number) || a - b,
  )
  return { mask, scores, order }
}

/** Widths become the nearest multiple, ties upwards; heads are whole anyway. One unit stays. */
function roundedCount(mask: Mask, count: number, roundTo: number): number {
  const { dimension, size } = mask
  const step = isHeads(mask) ? 1 : Math.max(1, Math.round(roundTo / dimension.granularity))
  const rounded = Math.floor(count / step + 0.5) * step
  return Math.min(size, Math.max(rounded, Math.min(step, size), 1))
}
