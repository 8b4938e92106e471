/**
 * Caches in half precision that attention gives and nothing reads. Where ONNX Runtime computes in single precision,
 * as on CPUs, it casts the old cache and takes that buffer for the new one, which is longer, and stops; of what
 * is an output of the graph it doesn't.
 */
import { edit } from '../graph/edit.js'
import type { Graph, Model, Value } from '../graph/graph.js'
import { type Materialised, materialise } from './materialise.js'
import type { ProviderName } from './provider.js'

/** As `materialise`; unread caches are outputs of the file, behind those of the graph, where it will run on a CPU. */
export function materialiseFor(model: Model, provider: ProviderName): Materialised {
  const held = provider === 'cpu' ? unreadCaches(model.graph) : []
  if (held.length === 0) return materialise(model)
  edit(model.graph, 'attnc.caches', (change) => {
    for (const value of held) change.expose(value)
  })
  try {
    return materialise(model)
  } finally {
    edit(model.graph, 'attnc.caches', (change) => {
      for (const value of held) change.hide(value)
    })
  }
}

function unreadCaches(graph: Graph): Value[] {
  return [...graph.nodes()].flatMap(({ op, domain, inputs, outputs }) => {
    const past = inputs[3]
    const isHalf = past?.type?.dataType === 'float16' || past?.type?.dataType === 'bfloat16'
    if (op !== 'GroupQueryAttention' || domain !== 'com.microsoft' || !isHalf) return []
    return outputs
      .slice(1, 3)
      .flatMap((each) => (each && each.uses.size === 0 && !each.isGraphOutput ? [each] : []))
  })
}
