/** Where something has to stand that several nodes are to read. */
import type { Graph, Node, Use } from './graph.js'

/** The first of the nodes of `uses` in the order of `graph`; undefined where all are in other graphs. */
export function firstReader(graph: Graph, uses: Iterable<Use>): Node | undefined {
  const readers = new Set([...uses].map(({ node }) => node))
  return [...graph.nodes()].find((node) => readers.has(node))
}
