/** Which graphs of a node may run: of an If one alone where sizes decide, as exporters let them. */
import { type Graph, innerGraphs, type Node } from '../graph/graph.js'
import type { KnownElements } from './elements.js'

export function reachableGraphs(node: Node, condition: KnownElements | undefined): Graph[] {
  const decided = node.op === 'If' ? condition?.elements[0]?.value : undefined
  if (decided === undefined) return [...innerGraphs(node)]
  const taken = node.attributes.get(decided ? 'then_branch' : 'else_branch')
  return taken?.kind === 'graph' ? [taken.value] : [...innerGraphs(node)]
}
