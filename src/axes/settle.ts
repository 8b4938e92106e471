/** Notes made on an axis before it was taken apart hold for all its leaves. */
import { type Axis, childrenOf, leastCommonMultiple, leavesOf } from './axis.js'

export function settleNotes(lists: Iterable<readonly Axis[]>): void {
  const all = new Set<Axis>()
  const collect = (axis: Axis): void => {
    const root = axis.root
    if (all.has(root)) return
    all.add(root)
    if (root.structure) for (const child of childrenOf(root.structure)) collect(child)
  }
  for (const axes of lists) axes.forEach(collect)
  for (const axis of all) {
    if (!axis.structure) continue
    if (axis.granularity > 1) spreadGranularity(axis, axis.granularity)
    for (const leaf of leavesOf(axis)) {
      for (const reason of axis.blocked)
        if (!leaf.blocked.includes(reason)) leaf.blocked.push(reason)
      for (const reason of axis.entangled)
        if (!leaf.entangled.includes(reason)) leaf.entangled.push(reason)
      for (const mark of axis.marks) leaf.marks.add(mark)
    }
  }
}

/**
 * Removal in aligned runs of `block` members of `axis`, said of its leaves: a leaf whose members are
 * runs of whole blocks is free, one whose members are shorter goes several at a time.
 */
function spreadGranularity(axis: Axis, block: number): void {
  const { structure } = axis.root
  if (!structure) {
    // A last run that is not full is a run of its own.
    axis.root.granularity = leastCommonMultiple(axis.root.granularity, block)
    return
  }
  if (structure.kind === 'sum') {
    for (const part of structure.parts) spreadGranularity(part, block)
    return
  }
  if (structure.kind === 'packed') return spreadGranularity(structure.of, block * structure.perByte)
  if (structure.kind === 'blocks') return spreadGranularity(structure.of, block * structure.block)
  let inner = 1
  for (const [index, factor] of [...structure.factors.entries()].toReversed()) {
    const size = factor.size.value
    if (size === undefined) return
    // So many members fill whole blocks; further in, every run of the factor must begin with one.
    const run = leastCommonMultiple(block, inner) / inner
    const fits = run < size && (index === 0 || (size * inner) % block === 0)
    if (run > 1 && fits) spreadGranularity(factor, run)
    else if (run > 1)
      for (const leaf of leavesOf(factor)) leaf.block(undefined, `blocks of ${block} don't fit`)
    inner *= size
  }
}
