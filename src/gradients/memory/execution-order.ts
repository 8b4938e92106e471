/**
 * The order in which ONNX Runtime runs a graph: not that of the file. It walks back from the nodes that
 * nobody reads, the last one first, and of a node's inputs takes the one first whose node stands last;
 * so what nothing needs soon is computed late, and what it reads is kept until then. Fused nodes count
 * as last ones there, which this does not know.
 */
import { captured } from '../../graph/extract.js'
import type { Graph, Node } from '../../graph/graph.js'
import { sortNodes } from '../../graph/sort-nodes.js'

export function executionOrder(graph: Graph): readonly Node[] {
  const nodes = [...graph.nodes()]
  const places = new Map(nodes.map((node, place) => [node, place]))
  const sources = (node: Node): Node[] => {
    const read = [...node.inputs, ...captured(node)]
    const found = new Set(read.flatMap((value) => value?.producer ?? []))
    return [...found].sort((a, b) => (places.get(b) ?? 0) - (places.get(a) ?? 0))
  }
  const isRead = (node: Node): boolean =>
    node.outputs.some((output) => output && output.uses.size > 0)
  return sortNodes(nodes.filter((node) => !isRead(node)).reverse(), sources)
}
