/**
 * Which layer a constant belongs to: that of the one block whose branch reads it. A branch is what lies
 * between two places where blocks join the stream; norms on the stream itself go with the block before
 * them, and what several layers read (masks, rotary tables) belongs to none.
 */
import type { Node, Value } from '../graph/graph.js'
import { joinOf } from '../model/branch-join.js'
import type { TransformerModel } from '../model/model.js'
import { upstream } from '../model/trace.js'

/** By name; constants of no layer are left out. */
export function layersOfConstants(view: TransformerModel): Map<string, number> {
  const layers = layersOfNodes(view)
  const found = new Map<string, number>()
  for (const { name, constant, uses } of view.graph.values.values()) {
    if (!constant) continue
    const own = new Set([...uses].map(({ node }) => layerOf(node, layers)))
    const [layer] = own
    if (own.size === 1 && layer !== undefined && layer !== null) found.set(name, layer)
  }
  return found
}

/** Sizes are computed beside the branch, in few steps: such a node is of the layer that it leads to. */
function layerOf(node: Node, layers: ReadonlyMap<Node, number | null>, steps = 4): number | null {
  const known = layers.get(node)
  if (known !== undefined || steps === 0) return known ?? null
  const next = node.outputs.flatMap((output) => [...(output?.uses ?? [])])
  const own = new Set(next.map((use) => layerOf(use.node, layers, steps - 1)))
  const [layer] = own
  return own.size === 1 ? (layer ?? null) : null
}

interface Joined {
  readonly layer: number
  readonly join: Node
  /** The product that writes what is joined. */
  readonly projection: Node
}

/** null: read by several layers. */
function layersOfNodes(view: TransformerModel): Map<Node, number | null> {
  const blocks = findJoins(view)
  const joins = new Map(blocks.map(({ join, layer }) => [join, layer]))
  const layers = new Map<Node, number | null>(joins)
  const assign = (node: Node, layer: number): void => {
    if (!joins.has(node))
      layers.set(node, layers.has(node) && layers.get(node) !== layer ? null : layer)
  }
  for (const { layer, join, projection } of blocks) {
    const reached = join.inputs.flatMap((input) => (input ? [reachedFrom(input, joins)] : []))
    const branch = reached.filter((nodes) => nodes.has(projection))
    const stream = new Set(
      reached.filter((nodes) => !nodes.has(projection)).flatMap((nodes) => [...nodes]),
    )
    for (const node of branch.flatMap((nodes) => [...nodes]))
      if (!stream.has(node)) assign(node, layer)
    const below = [...stream].find((node) => joins.has(node))
    if (below) for (const node of stream) assign(node, joins.get(below) as number)
  }
  return layers
}

/** Nodes that lead to a value, up to where earlier blocks joined. */
const reachedFrom = (value: Value, joins: ReadonlyMap<Node, number>): Set<Node> =>
  new Set(upstream(value, (node) => !joins.has(node)))

function findJoins({ analysis, attention, feedForward }: TransformerModel): Joined[] {
  return [
    ...attention.flatMap(({ layer, outputProjection, context }): Joined[] => {
      const output = outputProjection?.node.outputs[0]
      const join = output && joinOf(analysis, output, context)
      return join ? [{ layer, join, projection: outputProjection.node }] : []
    }),
    ...feedForward.map(({ layer, join, outputProjection }) => ({
      layer,
      join,
      projection: outputProjection.node,
    })),
  ]
}
