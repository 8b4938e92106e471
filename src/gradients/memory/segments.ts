/**
 * Where a step may forget what the forward pass made: the graph is cut where little crosses, whatever the
 * model calls its blocks. Between two cuts lies a segment; what crosses is kept, all else of it can be
 * made again. How long segments are is weighed: what is kept at the cuts grows with their number,
 * what one of them holds while its turn is there falls with it.
 */
import { innerGraphs, type Node, type Value } from '../../graph/graph.js'

export interface Segment {
  /** In the order of the file: those that depend on data and parameters, and what stands between them. */
  readonly nodes: readonly Node[]
  /** Made before it and read in it. */
  readonly entering: readonly Value[]
  /** Made in it and read behind it. */
  readonly leaving: readonly Value[]
  /** Made again to other numbers, or holding graphs of their own: such a segment can only be kept. */
  readonly isFixed: boolean
}

/** Operators that draw anew whenever they run. */
const drawing = /^(Random|Bernoulli|Multinomial|Dropout)/

export interface Cuttable {
  /** All nodes, in the order of the file. */
  readonly nodes: readonly Node[]
  /** Values that are kept or made again: floating, of data and of parameters. */
  readonly isOwn: (value: Value) => boolean
  readonly bytesOf: (value: Value) => number
  /** The value whose bytes it is. */
  readonly ownerOf: (value: Value) => Value
}

/** The graph in segments, from the first to the last; one where it is nowhere narrow. */
export function findSegments({ nodes, isOwn, bytesOf, ownerOf }: Cuttable): Segment[] {
  const places = new Map(nodes.map((node, place) => [node, place]))
  const lastRead = (value: Value): number =>
    Math.max(-1, ...[...value.uses].map(({ node }) => places.get(node) ?? -1))
  const made = nodes.map((node) =>
    node.outputs.filter((each): each is Value => each !== undefined && isOwn(each)),
  )
  const inner = made.map((values) => sum(values.map(bytesOf)))
  const ends = new Map<Value, number>()
  for (const value of made.flat()) {
    const owner = ownerOf(value)
    ends.set(owner, Math.max(lastRead(value), ends.get(owner) ?? 0))
  }
  // What crosses in front of each node.
  const change = new Float64Array(nodes.length + 2)
  for (const [owner, end] of ends) {
    const from = owner.producer && places.get(owner.producer)
    if (from === undefined || end <= from) continue
    change[from + 1] = (change[from + 1] as number) + bytesOf(owner)
    change[end + 1] = (change[end + 1] as number) - bytesOf(owner)
  }
  let crossing = 0
  const widths = nodes.map((_, place) => {
    crossing += change[place] as number
    return crossing
  })
  const cuts = bestCuts(widths, inner)
  return cuts.map((from, index) => {
    const to = cuts[index + 1] ?? nodes.length
    const own = nodes.slice(from, to)
    const read = new Set(own.flatMap((node) => node.inputs))
    const isBefore = (value: Value): boolean =>
      value.producer !== undefined && (places.get(value.producer) ?? from) < from
    return {
      nodes: own,
      entering: [...read].filter((each): each is Value => !!each && isOwn(each) && isBefore(each)),
      leaving: made
        .slice(from, to)
        .flat()
        .filter((value) => lastRead(value) >= to),
      isFixed: own.some((node) => drawing.test(node.op) || !innerGraphs(node).next().done),
    }
  })
}

/** Where segments begin, 0 first. */
function bestCuts(widths: readonly number[], inner: readonly number[]): number[] {
  const total = sum(inner)
  let best = { cuts: [0], cost: Number.POSITIVE_INFINITY }
  for (let limit = total / 2; limit > total / 512; limit *= 0.8) {
    const { cuts, kept } = narrowestCuts(widths, inner, limit)
    // The last one is never made again: its backward pass is next.
    const held = cuts.slice(1).map((to, index) => sum(inner.slice(cuts[index], to)))
    // What a segment holds stands beside the gradients of the same values.
    const cost = kept + 2 * Math.max(0, ...held)
    if (cuts.length > 1 && cost < best.cost) best = { cuts, cost }
  }
  return best.cuts
}

/** The cuts across which least is kept, where no segment makes more than `limit` but by single nodes. */
function narrowestCuts(
  widths: readonly number[],
  inner: readonly number[],
  limit: number,
): { readonly cuts: number[]; readonly kept: number } {
  const end = widths.length
  const before = [0]
  for (const bytes of inner) before.push((before.at(-1) as number) + (bytes > limit ? 0 : bytes))
  const made = (from: number, to: number): number =>
    (before[to] as number) - (before[from] as number)
  // kept[i]: least that cuts up to one in front of node i keep; candidates ascend by it and by place.
  const kept = new Float64Array(end + 1)
  const last = new Int32Array(end + 1).fill(-1)
  const candidates = [0]
  let first = 0
  for (let at = 1; at <= end; at++) {
    while (made(candidates[first] as number, at) > limit) first++
    last[at] = candidates[first] as number
    // A cut where nothing crosses is one too many all the same.
    kept[at] = (kept[candidates[first] as number] as number) + (widths[at] ?? 0) + 1
    while (
      candidates.length > first &&
      (kept[candidates.at(-1) as number] as number) >= (kept[at] as number)
    )
      candidates.pop()
    candidates.push(at)
  }
  const cuts: number[] = []
  for (let at = last[end] as number; at >= 0; at = last[at] as number) cuts.unshift(at)
  return { cuts, kept: kept[end] as number }
}

const sum = (numbers: readonly number[]): number => numbers.reduce((total, each) => total + each, 0)
