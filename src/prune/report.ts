/** Before and after, layer by layer: what `prune` tells its user. */
import type { Model } from '../graph/graph.js'
import { countBytes, countFlops } from '../inspect/inspect.js'
import { countParameters } from '../inspect/parameters.js'
import type { TransformerModel } from '../model/model.js'
import type { PlanPart, VocabularyCut } from '../plan/plan.js'
import { findVocabulary } from '../vocabulary/find-vocabulary.js'

/** What a model costs, counted. */
export interface Totals {
  readonly parameters: number
  readonly bytes: number
  readonly flopsPerToken: number
}

/** What one dimension lost. */
export interface ReportRow {
  readonly dimension: string
  readonly layer: number | null
  readonly role: string
  readonly size: number
  readonly kept: number
  /** Parameters that go with it; what heads and their values share is counted with the heads. */
  readonly parameters: number
}

export const totalsOf = (model: Model, view: TransformerModel): Totals => ({
  parameters: countParameters(view.analysis),
  bytes: countBytes(model),
  flopsPerToken: countFlops(view),
})

export function reportRows(view: TransformerModel, { slices, vocabulary }: PlanPart): ReportRow[] {
  if (vocabulary) return vocabularyRows(view, vocabulary)
  const rows = slices.flatMap(({ dimension, remove }) => {
    const found = view.dimensions.find(({ id }) => id === dimension)
    if (!found) return []
    const gone = new Set(remove).size
    return [
      {
        dimension,
        layer: found.layer ?? null,
        role: found.role,
        size: found.size,
        kept: found.size - gone,
        parameters: gone * found.parametersPerMember,
      },
    ]
  })
  return rows.map((row) => ({ ...row, parameters: Math.round(row.parameters * keptHeads(row)) }))

  /** Members of value heads that go with their heads are counted there. */
  function keptHeads({ dimension, role }: ReportRow): number {
    if (role !== 'valueHeadSize') return 1
    const place = dimension.slice(0, -role.length)
    const heads = rows.find((each) => each.dimension === `${place}keyValueHeads`)
    return heads ? heads.kept / heads.size : 1
  }
}

function vocabularyRows(view: TransformerModel, { size, keep }: VocabularyCut): ReportRow[] {
  const found = findVocabulary(view)
  const each = typeof found === 'string' ? 0 : found.parametersPerToken
  const kept = keep.length
  const parameters = (size - kept) * each
  const role = 'vocabulary'
  return [{ dimension: role, layer: null, role, size, kept, parameters }]
}

export interface KeptBits {
  readonly bits: number
  /** undefined: the whole model. */
  readonly weights: number | undefined
}

/** What parts of a plan keep in fewer bits. */
export function keptBits(parts: readonly PlanPart[]): KeptBits[] {
  const counts = new Map<number, number | undefined>()
  const add = (bits: number): unknown => counts.set(bits, (counts.get(bits) ?? 0) + 1)
  for (const { quantized = [], integers = [], precision } of parts) {
    for (const { grid } of quantized) add(grid.bits)
    for (const _ of integers) add(8)
    if (precision) counts.set(16, undefined)
  }
  return [...counts].sort(([a], [b]) => a - b).map(([bits, weights]) => ({ bits, weights }))
}
