/**
 * The order of a graph's nodes: that of the file where values are made before they are read, otherwise
 * the nearest one for which that holds. Graphs inside a node count as the node's own reading.
 */
import { AttncError } from '../errors.js'
import type { Node } from './graph.js'

/** `reads` gives the nodes of the same graph whose outputs a node needs. */
export function sortNodes(
  nodes: readonly Node[],
  reads: (node: Node) => Iterable<Node>,
): readonly Node[] {
  const done = new Set<Node>()
  const open = new Set<Node>()
  const sorted: Node[] = []
  // Depth first without recursion: exported graphs are chains of thousands of nodes.
  for (const start of nodes) {
    if (done.has(start)) continue
    const path = [{ node: start, rest: [...reads(start)].reverse() }]
    open.add(start)
    for (let top = path.at(-1); top; top = path.at(-1)) {
      const next = top.rest.pop()
      if (!next) {
        path.pop()
        open.delete(top.node)
        done.add(top.node)
        sorted.push(top.node)
      } else if (open.has(next)) {
        const cycle = path.map((step) => step.node)
        throw cyclic(cycle.slice(cycle.indexOf(next)))
      } else if (!done.has(next)) {
        open.add(next)
        path.push({ node: next, rest: [...reads(next)].reverse() })
      }
    }
  }
  return sorted
}

const cyclic = (cycle: readonly Node[]): AttncError =>
  new AttncError(
    'CYCLIC_GRAPH',
    'model',
    `The graph has a cycle of ${cycle.length} nodes: ${cycle
      .slice(0, 5)
      .map((node) => `"${node.label}"`)
      .join(' → ')}${cycle.length > 5 ? ' → …' : ''} → "${cycle[0]?.label}".`,
    { suggestions: ['Export the model again; a loop is written with a Loop node.'] },
  )
