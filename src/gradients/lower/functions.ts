/**
 * Calls of model-local functions written out, those in their bodies too: exporters leave such functions in files.
 * attnc's own operators stay calls, because they have kernels; own-backward.ts differentiates them. Of branches
 * that stand open one is taken: the model without a cache.
 */
import { KERNEL_DOMAIN } from '../../../kernels/kernel.js'
import { edit, type GraphEdit } from '../../graph/edit.js'
import { eraseReplaced } from '../../graph/erase-replaced.js'
import { extractSubgraph } from '../../graph/extract.js'
import type { LocalFunction, Model, Node, Value } from '../../graph/graph.js'
import { whyNotWritten, writeCall } from '../../graph/write-call.js'
import { hasOpenBranches, takeFirstBranches } from '../../rewrite/first-branch.js'

/**
 * The model itself where it has neither functions nor open branches; else a copy in which operators
 * read the weights themselves.
 */
export function withoutFunctions(model: Model): Model {
  const { graph } = model
  if (!hasOpenBranches(graph) && ![...graph.nodes()].some((node) => findForeign(node))) return model
  const copy = extractSubgraph(graph, new Map(), graph.outputs)
  edit(copy.graph, 'attnc.functions', writeFunctions)
  return copy
}

/** What stands for which output now, branches taken too; a call that can't be written out stays. */
export function writeFunctions(change: GraphEdit): ReadonlyMap<Value, Value> {
  const replaced = new Map(takeFirstBranches(change))
  const queue = [...change.graph.nodes()]
  for (const call of queue) {
    const called = findForeign(call)
    if (!called || whyNotWritten(called, change.graph.model)) continue
    const { nodes, outputs } = writeCall(change, call, called)
    for (const [index, output] of call.outputs.entries()) {
      const result = outputs[index]
      if (!output || !result) continue
      change.replaceUses(output, result)
      for (const [from, to] of replaced) if (to === output) replaced.set(from, result)
      replaced.set(output, result)
    }
    eraseReplaced(change, call, replaced)
    queue.push(...nodes)
  }
  return replaced
}

/** The function that a node calls, where it is none of attnc's operators. */
export const findForeign = (node: Node): LocalFunction | undefined =>
  node.domain === KERNEL_DOMAIN ? undefined : node.graph.model.findFunction(node)
