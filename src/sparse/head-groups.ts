/**
 * Heads of a layer that follow one pattern, put together for one node. What a head sees is decided by its place in the
 * layer, for all heads and before they are put together: what others follow never changes it. Groups only pick.
 */
import type { Value } from '../graph/graph.js'
import type { NodeBuilder } from '../node-builder/node-builder.js'
import type { Heads } from './heads.js'
import type { Pattern } from './pattern.js'

export interface HeadGroup {
  readonly pattern: Pattern
  /** Places in the layer; rising. */
  readonly members: readonly number[]
}

/** Groups in the order in which their patterns come. */
export function groupHeads(patterns: readonly Pattern[], heads: number): HeadGroup[] {
  const groups = new Map<string, { pattern: Pattern; members: number[] }>()
  for (let head = 0; head < heads; head++) {
    const pattern = patterns[patterns.length === 1 ? 0 : head] as Pattern
    const key = JSON.stringify(pattern)
    const group = groups.get(key) ?? { pattern, members: [] }
    group.members.push(head)
    groups.set(key, group)
  }
  return [...groups.values()]
}

/** Some places along an axis of heads, layouts or selections. */
export const pickPlaces = (
  build: NodeBuilder,
  value: Value,
  places: readonly number[],
  axis: number,
): Value => {
  const picked = build.op('Gather', [value, build.ints(...places)], { axis })
  build.edit.setType(picked, value.type && { dataType: value.type.dataType, dims: undefined })
  return picked
}

/** The key-value head of each of some heads, of `count` heads in all. */
export const keyValueHeadsOf = (
  members: readonly number[],
  { keyValueHeads }: Heads,
  count: number,
): number[] => members.map((head) => Math.floor((head * keyValueHeads) / count))

/** Members with keys and values of their own each. */
export function pickHeads(
  build: NodeBuilder,
  heads: Heads,
  members: readonly number[],
  count: number,
): Heads {
  const own = keyValueHeadsOf(members, heads, count)
  return {
    query: pickPlaces(build, heads.query, members, 1),
    key: pickPlaces(build, heads.key, own, 1),
    value: pickPlaces(build, heads.value, own, 1),
    keyValueHeads: members.length,
  }
}

/** Whole groups of heads that share keys, those that hold the members; and in which of them each member is. */
export function withSharers(
  build: NodeBuilder,
  heads: Heads,
  members: readonly number[],
  count: number,
): { readonly sharers: Heads; readonly places: readonly number[] } {
  const own = keyValueHeadsOf(members, heads, count)
  const needed = [...new Set(own)]
  const share = count / heads.keyValueHeads
  const queries = needed.flatMap((head) =>
    Array.from({ length: share }, (_, index) => head * share + index),
  )
  const sharers = {
    query: pickPlaces(build, heads.query, queries, 1),
    key: pickPlaces(build, heads.key, needed, 1),
    value: heads.value,
    keyValueHeads: needed.length,
  }
  return { sharers, places: own.map((head) => needed.indexOf(head)) }
}
