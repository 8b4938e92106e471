/** Before and after, layer by layer: what `prune` tells its user. */
import type { Model } from '../graph/graph.js'
import { countBytes, countFlops } from '../inspect/inspect.js'
import { countParameters } from '../inspect/parameters.js'
import type { TransformerModel } from '../model/model.js'
import type { Plan } from '../plan/plan.js'

export interface Totals {
  readonly parameters: number
  readonly bytes: number
  readonly flopsPerToken: number
}

export interface ReportRow {
  readonly dimension: string
  readonly role: string
  readonly size: number
  readonly kept: number
  /** Parameters that go with it, before what it shares with other dimensions. */
  readonly parameters: number
}

export const totalsOf = (model: Model, view: TransformerModel): Totals => ({
  parameters: countParameters(view.analysis),
  bytes: countBytes(model),
  flopsPerToken: countFlops(view),
})

export function reportRows(view: TransformerModel, plan: Plan): ReportRow[] {
  return plan.slices.flatMap(({ dimension, remove }) => {
    const found = view.dimensions.find(({ id }) => id === dimension)
    if (!found) return []
    return [
      {
        dimension,
        role: found.role,
        size: found.size,
        kept: found.size - new Set(remove).size,
        parameters: new Set(remove).size * found.parametersPerMember,
      },
    ]
  })
}
