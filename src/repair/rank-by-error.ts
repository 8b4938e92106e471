/** In what order the units of a choice go by the error of their block's output, and what each step costs. */
import type { Statistics } from '../calibrate/statistics.js'
import type { Products } from '../linear-algebra/products.js'
import { Elimination, type Ranking } from './elimination.js'
import type { Metric } from './metric.js'
import type { Choice } from './prunable.js'
import { rankUnmixed } from './rank-unmixed.js'
import { findValueBasis, turnMoments, turnWithInverse } from './value-basis.js'

/** Curves go this far: nothing keeps less than a tenth when the budget is shared. */
export const deepest = 0.9

export interface ErrorRanking {
  readonly ridge: number
  /** Units that are ranked. */
  readonly most: number
  /** What errors of the block mean to the answer, where that was measured. */
  readonly metric?: Metric | undefined
  readonly products: Products
}

/** Undefined without second moments, or a projection that they are of, or nothing that mixes units. */
export async function rankByError(
  { block, units, frame }: Choice,
  statistics: Statistics | undefined,
  { ridge, most, metric, products }: ErrorRanking,
): Promise<Ranking | undefined> {
  const { projection } = block
  if (statistics && block.isUnmixed) return rankUnmixed({ block, units }, statistics, most)
  if (!statistics?.moments || !projection) return undefined
  const weight = projection.read()
  const moments = frame ? statistics.moments.slice() : statistics.moments
  const { columns } = projection
  if (frame) {
    const { basis, inverse } = findValueBasis(frame, moments, weight, columns)
    turnMoments(moments, frame, basis)
    turnWithInverse(weight, columns, frame, inverse)
  }
  const { tokens } = statistics
  const { groups } = projection
  const own = metric && groups === 1 ? await metric.turn(weight) : weight
  const input = { moments, tokens, weight: own, columns, ridge, groups }
  using elimination = await Elimination.open(input, products)
  return await elimination.drop(
    units.map(({ rows }) => rows),
    most,
  )
}
