/**
 * An If whose branches stand open, decided for the one that needs no cache: what is trained or learned on whole
 * texts runs that one alone. Weights are those of both.
 */
import { edit, type GraphEdit } from '../graph/edit.js'
import { eraseReplaced } from '../graph/erase-replaced.js'
import { extractSubgraph } from '../graph/extract.js'
import { type Graph, innerGraphs, isOpened, type Model, type Value } from '../graph/graph.js'
import { eraseUnread } from './erase-unread.js'

export const hasOpenBranches = (graph: Graph): boolean => [...graph.nodes()].some(isOpened)

/** What stands for which result now; the other branch goes. */
export function takeFirstBranches(change: GraphEdit): ReadonlyMap<Value, Value> {
  const replaced = new Map<Value, Value>()
  for (const join of [...change.graph.nodes()].filter(isOpened)) {
    const graphs = [...innerGraphs(join)]
    const first = graphs.find(({ branch }) => branch && !branch.isAgain)
    const sources = graphs.flatMap(({ outputs }) => outputs.flatMap(sourceOf))
    for (const [index, output] of join.outputs.entries()) {
      const result = first?.outputs[index]
      const [source] = result ? sourceOf(result) : []
      if (!output || !source) continue
      change.replaceUses(output, source)
      replaced.set(output, source)
    }
    eraseReplaced(change, join, replaced)
    for (const { producer } of sources) if (producer) eraseUnread(change, producer)
  }
  return replaced
}

const sourceOf = ({ producer }: Value): Value[] =>
  producer?.inputs.flatMap((each) => each ?? []) ?? []

/** The model itself where no branch stands open; else a copy that has the one without a cache alone. */
export function firstWay(model: Model): Model {
  if (!hasOpenBranches(model.graph)) return model
  const copy = extractSubgraph(model.graph, new Map(), model.graph.outputs)
  edit(copy.graph, 'attnc.branches', takeFirstBranches)
  return copy
}
