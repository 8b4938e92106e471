/**
 * What a block reads of the pruned stream, x̃, is an estimate of what the dense one has, x. The best
 * linear one is x̃·(I + C) with C = (Σx̃ᵀx̃ + λI)⁻¹·Σx̃ᵀ(x − x̃) (Wiener 1949); it costs nothing at run time,
 * because the weights that read x̃ take it in: W ← W + C·W.
 */
import type { Products } from '../linear-algebra/products.js'
import type { BlockRead } from '../model/reads.js'
import { letGoOf } from '../runtime/let-go.js'
import { invertDamped } from './damped-inverse.js'
import type { Observation } from './observe.js'

/** The weights of a read, [size, outputs] each, in the order of its projections. */
export async function correctRead(
  { size, projections }: BlockRead,
  { moments, missing, tokens }: Observation,
  ridge: number,
  products: Products,
): Promise<Float64Array[]> {
  const square = (numbers: Float64Array) => ({ rows: size, columns: size, numbers })
  const inverse = await invertDamped({ moments, tokens, ridge }, size, products)
  const gap = missing?.slice() ?? new Float64Array(size * size)
  for (let i = 0; i < gap.length; i++) gap[i] = (gap[i] as number) / Math.max(tokens, 1)
  const change = await products.multiply(inverse, square(gap))
  letGoOf(inverse.numbers, gap)
  const weights = await Promise.all(
    projections.map(async (projection) => {
      const weight = projection.read()
      const { rows, columns } = projection
      const { numbers: step } = await products.multiply(change, { rows, columns, numbers: weight })
      const moved = new Float64Array(weight.length)
      for (let i = 0; i < weight.length; i++) moved[i] = (weight[i] as number) + (step[i] as number)
      letGoOf(step)
      return moved
    }),
  )
  letGoOf(change.numbers)
  return weights
}
