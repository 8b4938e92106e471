/** The order of nodes after an edit that put work before what it reads. */
import type { Graph, Node } from './graph.js'
import { nodesInside } from './links.js'

/** Puts nodes in an order in which every value is made before it is read, as near as can be to the one they had. */
export function resort(graph: Graph): void {
  const { nodesById } = graph
  const nodes = [...nodesById].map(([, node]) => node)
  nodesById.clear()
  const isLeft = new Set<Node>()
  const stack = nodes.toReversed().map((node) => ({ node, isReady: false }))
  for (let top = stack.pop(); top; top = stack.pop()) {
    const { node, isReady } = top
    if (isReady) nodesById.append(node)
    if (isReady || isLeft.has(node)) continue
    isLeft.add(node)
    stack.push({ node, isReady: true })
    const read = [...node.inputs, ...[...nodesInside(node)].flatMap(({ inputs }) => inputs)]
    for (const value of read.toReversed()) {
      const producer = value?.graph === graph ? value.producer : undefined
      if (producer && !isLeft.has(producer)) stack.push({ node: producer, isReady: false })
    }
  }
}
