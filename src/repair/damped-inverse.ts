/** Second moments, damped so that they have an inverse. */
import { AttncError } from '../errors.js'
import { invertLarge } from '../linear-algebra/inverse.js'
import type { Matrix, Products } from '../linear-algebra/products.js'
import { letGoOf } from '../runtime/let-go.js'

export interface DampedMoments {
  /** Σ xᵀx over tokens, [n, n]. */
  readonly moments: Float64Array
  readonly tokens: number
  /** λ as a share of the mean of H's diagonal, for each input per token: ridge · n/T. */
  readonly ridge: number
}

/**
 * (Σxᵀx/T + λI)⁻¹, of means over tokens. Inputs of few different values make moments of low rank, which
 * rounding may push below zero: λ grows until it holds them up. Error: MOMENTS_UNBOUNDED.
 */
export async function invertDamped(
  input: DampedMoments,
  n: number,
  products: Products,
): Promise<Matrix> {
  for (let lift = 1; ; lift *= 10) {
    const numbers = damped(input, n, lift)
    try {
      return await invertLarge({ rows: n, columns: n, numbers }, products)
    } catch (error) {
      if (!(error instanceof RangeError)) throw error
      if (lift > 1e6) throw noInverse(error)
    } finally {
      letGoOf(numbers)
    }
  }
}

const noInverse = (cause: unknown): AttncError =>
  new AttncError(
    'MOMENTS_UNBOUNDED',
    'numeric',
    'What a block computes of the data is too large, or too unlike in size, to be fitted: its second moments have no inverse.',
    {
      cause,
      suggestions: [
        'Look for weights or data that are far too large; "attnc verify" says whether the model runs well.',
        'Leave fitting out: --recover none.',
      ],
    },
  )

/** Σxᵀx/T + λI */
function damped({ moments, tokens, ridge }: DampedMoments, n: number, lift: number): Float64Array {
  const h = new Float64Array(moments)
  for (let i = 0; i < h.length; i++) h[i] = (h[i] as number) / Math.max(tokens, 1)
  let trace = 0
  // About their mean, values that never change have moments around zero, on either side.
  for (let i = 0; i < n; i++) trace += Math.abs(h[i * n + i] as number)
  const share = Math.min(1, (ridge * n) / Math.max(tokens, 1))
  const lambda = lift * Math.max((share * trace) / n, Number.MIN_VALUE * 2 ** 60)
  for (let i = 0; i < n; i++) h[i * n + i] = (h[i * n + i] as number) + lambda
  return h
}

export function squares(x: Float64Array, at: number, length: number): number {
  let sum = 0
  for (let c = at; c < at + length; c++) sum += (x[c] as number) * (x[c] as number)
  return sum
}

/**
 * to[at…] += Σₖ factors[k] · from[source + k·length…], in the order of k; four at a time, so that what is added to is
 * read and written a quarter as often.
 */
export function addScaledRows(
  to: Float64Array,
  at: number,
  from: Float64Array,
  source: number,
  factors: Float64Array,
  length: number,
): void {
  let k = 0
  for (; k + 4 <= factors.length; k += 4) {
    const at0 = source + k * length
    const at1 = at0 + length
    const at2 = at1 + length
    const at3 = at2 + length
    const f0 = factors[k] as number
    const f1 = factors[k + 1] as number
    const f2 = factors[k + 2] as number
    const f3 = factors[k + 3] as number
    for (let c = 0; c < length; c++)
      to[at + c] =
        (to[at + c] as number) +
        f0 * (from[at0 + c] as number) +
        f1 * (from[at1 + c] as number) +
        f2 * (from[at2 + c] as number) +
        f3 * (from[at3 + c] as number)
  }
  for (; k < factors.length; k++)
    addScaled(to, at, from, source + k * length, factors[k] as number, length)
}

/** to[at…] += factor · from[source…] */
export function addScaled(
  to: Float64Array,
  at: number,
  from: Float64Array,
  source: number,
  factor: number,
  length: number,
): void {
  for (let c = 0; c < length; c++)
    to[at + c] = (to[at + c] as number) + factor * (from[source + c] as number)
}
