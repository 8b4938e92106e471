/** A working copy whose norms run over what stays of a dimension, as those of the cut model will. */
import { maskNorms } from '../axes/masked-norm.js'
import { Removal } from '../axes/removal.js'
import { edit } from '../graph/edit.js'
import type { Graph } from '../graph/graph.js'
import { readModel } from '../model/model.js'
import { tensorOf, toConstant } from '../onnx/numbers.js'

/** `kept`: the members that stay, by the id of the dimension. */
export function leaveOutOfNorms(graph: Graph, kept: ReadonlyMap<string, readonly number[]>): void {
  const view = readModel(graph)
  const removal = new Removal(
    new Map(
      view.dimensions.flatMap(({ id, axis }) => {
        const own = kept.get(id)
        return own ? [[axis, own] as const] : []
      }),
    ),
  )
  edit(graph, 'attnc.norms', (change) =>
    maskNorms(change, view.analysis, (axis, type) => {
      const own = removal.kept(axis)
      if (!own) return undefined
      const ones = new Array<number>(axis.size.value ?? 0).fill(0)
      for (const member of own) ones[member] = 1
      return change.constant(toConstant(tensorOf(type, [ones.length], ones)))
    }),
  )
}
