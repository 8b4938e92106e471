/**
 * What a model costs as a polynomial of how many units every mask keeps: the sum, over weights, of the
 * products of their sizes. It is the same for any architecture and any packing, as sizes come from the
 * axes; for a soft count it is what training steers by, for whole numbers it is exact.
 */
import type { Axis } from '../../src/axes/axis.js'
import { isWeight } from '../../src/axes/dimension.js'
import type { Value } from '../../src/graph/graph.js'
import type { TransformerModel } from '../../src/model/model.js'
import { type Mask, wholeOf } from './masks.js'

export interface Term {
  readonly factor: number
  /** Masks whose counts are multiplied, by index, in order; one that occurs twice is there twice. */
  readonly masks: readonly number[]
}

/** A measured cost of one mask's count, straight between its knots, which ascend. */
export interface Curve {
  readonly mask: number
  /** The mask of the whole block, whose count multiplies that one's. */
  readonly whole?: number | undefined
  readonly knots: readonly Knot[]
}

export interface Knot {
  readonly count: number
  readonly cost: number
}

/** Cost of the blocks that masks are learned for: the sum of terms and curves. */
export interface Resource {
  /** In the words of a log. */
  readonly unit: 'parameters' | 'operations' | 'microseconds' | 'work'
  readonly terms: readonly Term[]
  readonly curves: readonly Curve[]
  /** With everything kept. */
  readonly total: number
}

/** Parameters of the weights that some mask of a block cuts. */
export function parametersOf(view: TransformerModel, masks: readonly Mask[]): Resource {
  const seen = new Set<Value>()
  const terms: Term[] = []
  for (const { value, axes } of view.analysis.constantAxes()) {
    const first = view.analysis.copies.get(value) ?? value
    if (seen.has(first) || !isWeight(value)) continue
    seen.add(first)
    terms.push(...product(axes.map((axis) => sizeOf(axis, masks))))
  }
  return collect('parameters', terms, masks)
}

/** Operations a token: two for each number of a matrix, as often as it is multiplied. */
export function operationsOf(view: TransformerModel, masks: readonly Mask[]): Resource {
  const { analysis } = view
  const runs = analysis.contractions.filter(({ node }) => !node.branch?.isAgain)
  const terms = runs.flatMap(({ node }) =>
    node.inputs.flatMap((value, index) => {
      const axes = value?.constant && analysis.inputAxes(node, index)
      if (!axes || axes.length < 2) return []
      return product([[{ factor: 2, masks: [] }], ...axes.map((axis) => sizeOf(axis, masks))])
    }),
  )
  return collect('operations', terms, masks)
}

export const costOf = (
  { terms, curves }: Pick<Resource, 'terms' | 'curves'>,
  counts: readonly number[],
): number =>
  terms.reduce(
    (sum, { factor, masks }) =>
      sum + masks.reduce((product, mask) => product * (counts[mask] as number), factor),
    0,
  ) +
  curves.reduce((sum, curve) => {
    const isThere = curve.whole === undefined ? 1 : (counts[curve.whole] as number)
    return sum + costAt(curve, isThere * (counts[curve.mask] as number))
  }, 0)

/** The largest share of any that is left with these counts. */
export const shareLeft = (resources: readonly Resource[], counts: readonly number[]): number =>
  Math.max(...resources.map((each) => costOf(each, counts) / each.total))

function costAt({ knots }: Curve, count: number): number {
  const at = Math.max(
    1,
    knots.findIndex((knot) => knot.count >= count),
  )
  const [before, after] = [knots[at - 1] as Knot, knots[at] as Knot]
  const share = (count - before.count) / (after.count - before.count)
  return before.cost + share * (after.cost - before.cost)
}

/** ∂cost/∂count of each mask. */
export function slopesOf({ terms }: Pick<Resource, 'terms'>, counts: readonly number[]): number[] {
  const slopes = counts.map(() => 0)
  for (const { factor, masks } of terms)
    for (const [at, mask] of masks.entries()) {
      const others = masks.filter((_, other) => other !== at)
      const rest = others.reduce((product, other) => product * (counts[other] as number), factor)
      slopes[mask] = (slopes[mask] as number) + rest
    }
  return slopes
}

export function collect(
  unit: Resource['unit'],
  all: readonly Term[],
  masks: readonly Mask[],
): Resource {
  const byMasks = new Map<string, Term>()
  for (const term of all) {
    // What no block's mask cuts is there anyway; the hidden width alone is no block.
    if (!term.masks.some((mask) => masks[mask]?.dimension.role !== 'hidden')) continue
    const sorted = term.masks.toSorted((a, b) => a - b)
    const known = byMasks.get(String(sorted))
    byMasks.set(String(sorted), { factor: term.factor + (known?.factor ?? 0), masks: sorted })
  }
  const spent = { terms: [...byMasks.values()], curves: [] }
  return { unit, ...spent, total: costOf(spent, fullCounts(masks)) }
}

export const fullCounts = (masks: readonly Mask[]): number[] => masks.map(({ size }) => size)

/** The size of an axis as a sum of terms; what is open has the size that stands in `open`, or 1. */
export function sizeOf(
  axis: Axis,
  masks: readonly Mask[],
  open: ReadonlyMap<string, number> = new Map(),
): Term[] {
  const { structure, size } = axis.root
  const own = masks.findIndex(({ dimension }) => dimension.axis === axis.root)
  if (own >= 0) {
    const mask = masks[own] as Mask
    const whole = wholeOf(masks, mask)
    return [{ factor: mask.dimension.granularity, masks: whole < 0 ? [own] : [own, whole] }]
  }
  if (structure?.kind === 'product')
    return product(structure.factors.map((factor) => sizeOf(factor, masks, open)))
  if (structure?.kind === 'sum') return structure.parts.flatMap((part) => sizeOf(part, masks, open))
  if (structure?.kind === 'blocks')
    return product([
      [{ factor: 1 / structure.block, masks: [] }],
      sizeOf(structure.of, masks, open),
    ])
  if (structure?.kind === 'packed')
    return product([
      [{ factor: 1 / structure.perByte, masks: [] }],
      sizeOf(structure.of, masks, open),
    ])
  return [{ factor: size.at(open) ?? 1, masks: [] }]
}

export const product = (sums: readonly (readonly Term[])[]): Term[] =>
  sums.reduce<Term[]>(
    (left, right) =>
      left.flatMap((one) =>
        right.map((other) => ({
          factor: one.factor * other.factor,
          masks: [...one.masks, ...other.masks],
        })),
      ),
    [{ factor: 1, masks: [] }],
  )
