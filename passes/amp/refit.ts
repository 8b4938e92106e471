/**
 * Carries out the counts of one block: which units go, given everything before it, and the projection
 * that answers for them.
 */
import type { RefittedProjection } from '../../src/plan/apply.js'
import type { PlanSlice } from '../../src/plan/plan.js'
import type { Choice, PrunableBlock } from './block.js'
import { Elimination, type Ranking } from './elimination.js'
import { turnWithInverse } from './rank.js'
import type { Observation } from './sequential.js'
import { findValueBasis, turnMoments, turnRows } from './value-basis.js'

export interface Refitted {
  readonly slices: readonly PlanSlice[]
  readonly projection: RefittedProjection
  /** The same projection on values in their old basis, all rows: [n, D]. */
  readonly weight: Float64Array
}

/** `fixed`: orders that were decided before; without them units are chosen anew on what is observed. */
export function refitBlock(
  block: PrunableBlock,
  observation: Observation,
  counts: ReadonlyMap<Choice, number>,
  ridge: number,
  fixed?: ReadonlyMap<Choice, Ranking>,
): Refitted | undefined {
  const { projection, choices } = block
  if (!projection) return undefined
  const { columns, rows: n } = projection
  const weight = projection.read()
  const moments = observation.moments.slice()
  const missing = observation.missing?.slice()
  const frame = choices.find((choice) => choice.frame && (counts.get(choice) ?? 0) > 0)?.frame
  const turned = frame && findValueBasis(frame, moments, weight, columns)
  if (frame && turned) {
    const { size } = frame
    turnMoments(moments, frame, turned.basis)
    turnWithInverse(weight, columns, frame, turned.inverse)
    if (missing)
      turnRows(
        missing,
        columns,
        frame,
        (h, to, from) => turned.basis[(h * size + from) * size + to] as number,
      )
  }
  const elimination = new Elimination({
    moments,
    missing,
    tokens: observation.tokens,
    weight,
    columns,
    ridge,
  })
  const slices: PlanSlice[] = []
  const lost = new Set<number>()
  for (const choice of choices) {
    const count = counts.get(choice) ?? 0
    if (count === 0) continue
    const order = fixed?.get(choice)?.order.slice(0, count) ?? []
    const rows = choice.units.map((unit) => unit.rows)
    if (fixed) for (const unit of order) elimination.dropRows(rows[unit] ?? [])
    else order.push(...elimination.drop(rows, count).order)
    const remove = order.flatMap((unit) => choice.units[unit]?.members ?? [])
    slices.push({ dimension: choice.dimension.id, remove: remove.sort((a, b) => a - b) })
    for (const unit of order) for (const row of choice.units[unit]?.rows ?? []) lost.add(row)
  }
  const fitted = elimination.weight()
  const kept = Array.from({ length: n }, (_, row) => row).filter((row) => !lost.has(row))
  const own = new Float32Array(kept.length * columns)
  for (const [to, from] of kept.entries())
    own.set(fitted.subarray(from * columns, (from + 1) * columns), to * columns)
  if (frame && turned) {
    const { size } = frame
    turnRows(
      fitted,
      columns,
      frame,
      (h, to, from) => turned.basis[(h * size + to) * size + from] as number,
    )
  }
  return {
    slices,
    weight: fitted,
    projection: {
      block: block.key,
      rows: kept.length,
      columns,
      weight: own,
      ...(frame && turned
        ? {
            basis: {
              heads: frame.heads,
              size: frame.size,
              numbers: Float32Array.from(turned.basis),
            },
          }
        : {}),
    },
  }
}
