/**
 * Windows of an image: height and width are each cut into windows × places, the windows go beside the
 * batch, and attention sees the places of one window. No mask says so; the axes do.
 */
import type { AxisAnalysis } from '../axes/analysis.js'
import { type Axis, factorsOf, leavesOf } from '../axes/axis.js'
import type { AttentionBlock } from '../model/attention.js'

/** Blocks whose tokens lie in such windows, with the length of a window's side. */
export function findImageWindows<Block extends AttentionBlock>(
  analysis: AxisAnalysis,
  blocks: readonly Block[],
): Map<Block, number> {
  const found = new Map<Block, number>()
  let sides: (readonly Axis[])[] | undefined
  for (const block of blocks) {
    const axes = analysis.axes(block.scores ?? block.keys)
    const keys = axes?.at(block.scores ? -1 : -2)
    const places = keys ? factorsOf(keys) : []
    if (!axes || places.length < 2) continue
    sides ??= findSides(analysis)
    const beside = new Set(axes.slice(0, -2).flatMap(leavesOf))
    const inside = sides.flatMap((side) => placesWithin(side, beside, places))
    for (const height of inside) {
      const width = places.slice(height.length)
      if (!startsWith(places, height) || !inside.some((each) => isSame(each, width))) continue
      found.set(block, Math.max(sizeOf(height), sizeOf(width)))
    }
  }
  return found
}

/** Axes that are cut into parts, each as its factors: heights and widths among others. */
function findSides(analysis: AxisAnalysis): (readonly Axis[])[] {
  const roots = new Set<Axis>()
  for (const [, axes] of analysis.valueAxes()) for (const { root } of axes) roots.add(root)
  return [...roots].map(factorsOf).filter(({ length }) => length > 1)
}

/** What is left of a side behind its windows, which lie beside the batch. */
function placesWithin(
  side: readonly Axis[],
  beside: ReadonlySet<Axis>,
  places: readonly Axis[],
): (readonly Axis[])[] {
  const border = side.findIndex((factor) => !beside.has(factor))
  const rest = side.slice(border)
  return border > 0 && rest.every((factor) => places.includes(factor)) ? [rest] : []
}

const startsWith = (all: readonly Axis[], some: readonly Axis[]): boolean =>
  some.length < all.length && some.every((axis, index) => axis === all[index])

const isSame = (one: readonly Axis[], other: readonly Axis[]): boolean =>
  one.length === other.length && one.every((axis, index) => axis === other[index])

const sizeOf = (axes: readonly Axis[]): number =>
  axes.reduce((size, axis) => size * (axis.size.value ?? 1), 1)
