/**
 * The order of blocks and their layers: towers that see nothing of each other one after the other,
 * wherever an optimiser put their nodes, and in each tower the pattern that repeats.
 */
import type { Graph, Node, Value } from '../graph/graph.js'
import type { AttentionBlock } from './attention.js'
import type { FeedForward } from './feed-forward.js'
import { isMeasure } from './trace.js'

export type LayerBlock =
  | { readonly kind: 'self' | 'cross'; readonly at: number; readonly attention: AttentionBlock }
  | { readonly kind: 'feedForward'; readonly at: number; readonly feedForward: FeedForward }

/** Blocks in order, a list for each tower: of two, none depends on what a block of the other made. */
export function findTowers(graph: Graph, blocks: readonly LayerBlock[]): LayerBlock[][] {
  const byNode = new Map<Node, LayerBlock>()
  for (const block of blocks)
    byNode.set(block.kind === 'feedForward' ? block.feedForward.node : block.attention.node, block)
  const parents = new Map<LayerBlock, LayerBlock>()
  const rootOf = (block: LayerBlock): LayerBlock => {
    const parent = parents.get(block)
    return parent ? rootOf(parent) : block
  }
  // The towers whose blocks a value is made of: few, and one where towers haven't met.
  const reached = new Map<Value, readonly LayerBlock[]>()
  for (const node of graph.nodes()) {
    if (isMeasure(node)) continue
    const found = node.inputs.flatMap((input) => {
      const towers = input && reached.get(input)
      return towers ? [towers] : []
    })
    const roots = new Set(found.flat().map(rootOf))
    const [first] = roots
    // Parallel branches of one layer meet where they are added.
    const meeting = byNode.get(node) ?? (isSum(node) && found.length > 1 ? first : undefined)
    if (meeting) {
      for (const root of roots) if (root !== rootOf(meeting)) parents.set(root, rootOf(meeting))
      roots.clear()
      roots.add(rootOf(meeting))
    }
    if (roots.size > 0)
      for (const output of node.outputs) if (output) reached.set(output, [...roots])
  }
  const towers = new Map<LayerBlock, LayerBlock[]>()
  for (const block of blocks) {
    const root = rootOf(block)
    towers.set(root, [...(towers.get(root) ?? []), block])
  }
  return [...towers.values()]
}

const isSum = ({ op }: Node): boolean => /^(Skip|Add$|Sum$|QLinearAdd$)/.test(op)

/** Layers of each tower behind those of the towers before it. */
export function numberTowers(towers: readonly LayerBlock[][]): Map<LayerBlock, number> {
  const layers = new Map<LayerBlock, number>()
  let first = 0
  for (const tower of towers) {
    const own = numberLayers(tower)
    for (const [block, layer] of own) layers.set(block, first + layer)
    first += Math.max(0, ...[...own.values()].map((layer) => layer + 1))
  }
  return layers
}

/** A layer ends where a kind of block that it has comes again, or attention after a feed-forward. */
function numberLayers(blocks: readonly LayerBlock[]): Map<LayerBlock, number> {
  const repeated = layersByRepetition(blocks)
  if (repeated) return new Map(blocks.map((block, index) => [block, repeated[index] as number]))
  const period = periodOfWidths(blocks)
  if (period) return new Map(blocks.map((block, index) => [block, Math.floor(index / period)]))
  const layers = new Map<LayerBlock, number>()
  let layer = 0
  let seen = new Set<LayerBlock['kind']>()
  for (const block of blocks) {
    if (seen.has(block.kind) || (block.kind === 'self' && seen.has('cross'))) {
      layer++
      seen = new Set()
    }
    seen.add(block.kind)
    layers.set(block, layer)
  }
  return layers
}

/** Without attention: how many feed-forwards follow each other until all widths come again. */
function periodOfWidths(blocks: readonly LayerBlock[]): number | undefined {
  const widths = blocks.flatMap((block) =>
    block.kind === 'feedForward' ? [block.feedForward.width] : [],
  )
  if (widths.length < blocks.length || new Set(widths).size < 2) return undefined
  const period = widths.findIndex(
    (_, length) =>
      length > 0 &&
      widths.length % length === 0 &&
      widths.every((width, at) => width === widths[at % length]),
  )
  return period > 0 ? period : undefined
}

/**
 * Layers as the pattern that repeats, one self-attention each: feed-forwards may stand on both sides
 * of it or follow in numbers. Two patterns where an encoder and a decoder differ; attention at the end
 * that only pools belongs to the last layer.
 */
function layersByRepetition(blocks: readonly LayerBlock[]): number[] | undefined {
  const kinds = blocks.map(({ kind }) => kind)
  const found = findRepetition(kinds)
  if (found || kinds.at(-1) !== 'cross') return found
  const before = findRepetition(kinds.slice(0, -1))
  return before && [...before, before.at(-1) ?? 0]
}

function findRepetition(kinds: readonly LayerBlock['kind'][]): number[] | undefined {
  const periods = (from: number, to: number): number[] | undefined => {
    const part = kinds.slice(from, to)
    const count = part.filter((kind) => kind === 'self').length
    if (part.length === 0) return []
    if (count === 0) return from > 0 && part[0] === 'cross' ? part.map(() => -1) : undefined
    const length = part.findIndex(
      (_, index) =>
        index > 0 &&
        part.length % index === 0 &&
        part.slice(0, index).includes('self') &&
        part.every((kind, at) => kind === part[at % index]),
    )
    if (length > 0) return part.map((_, index) => Math.floor(index / length))
    return count === 1 ? part.map(() => 0) : undefined
  }
  if (kinds.filter((kind) => kind === 'self').length < 2) return undefined
  for (let border = kinds.length; border > 0; border--) {
    const first = periods(0, border)
    const rest = first && periods(border, kinds.length)
    if (!first || !rest || (border < kinds.length && !kinds.includes('cross', border))) continue
    const count = (first.at(-1) ?? 0) + 1
    return [...first, ...rest.map((layer) => count + layer)]
  }
  return undefined
}
