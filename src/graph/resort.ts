/** The order of nodes after an edit that put work before what it reads. */
import type { Graph, Node } from './graph.js'
import { nodesInside } from './links.js'
import { sortNodes } from './sort-nodes.js'

/** Puts nodes in an order in which every value is made before it is read, as near as can be to the one they had. */
export function resort(graph: Graph): void {
  const { nodesById } = graph
  const sources = (node: Node): Node[] => {
    const read = [...node.inputs, ...[...nodesInside(node)].flatMap(({ inputs }) => inputs)]
    return read.flatMap((value) => (value?.graph === graph && value.producer) || [])
  }
  const sorted = sortNodes([...graph.nodes()], sources)
  nodesById.clear()
  for (const node of sorted) nodesById.append(node)
}
