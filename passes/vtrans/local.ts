/**
 * Masks without gradients: the loss is replaced by the squared error of each block's own output, for
 * which the bottleneck has a closed form (not the published method). A unit that writes
 * c = E‖x_u W_u‖², with price γ, has μ = 1 − γ/c and σ² = (γ/c)(1 − γ/c), so α = c/γ − 1, and goes where
 * c ≤ 2γ. The price of a unit is γ times its parameters; one γ for the model meets the budget.
 */
import type { Calibration } from '../../src/calibrate/state.js'
import type { TransformerModel } from '../../src/model/model.js'
import { findPrunable, type Unit } from '../../src/repair/prunable.js'
import { EPSILON } from './bottleneck.js'
import type { LearnInput } from './input.js'
import type { LearnedMasks } from './learn.js'
import { findMasks } from './masks.js'
import { measureResources } from './measure-resource.js'
import type { VtransOptions } from './options.js'
import { assertReachable, selectUnits } from './select.js'

/** The optimum for one unit; one that is worth less than its price is closed. */
export function localOptimum(cost: number, price: number): { mean: number; variance: number } {
  const share = cost > price ? price / cost : 1
  return { mean: 1 - share, variance: Math.max(share * (1 - share), EPSILON) }
}

export async function localMasks(
  input: LearnInput,
  calibration: Calibration,
  options: VtransOptions,
): Promise<LearnedMasks> {
  const { view } = input
  // What a whole block is worth has no closed form beside that of its units.
  const structures = options.structures.filter((each) => each !== 'layers')
  const set = findMasks(view, { ...options, structures })
  const resources = await measureResources(input, set.masks, options)
  assertReachable(set.masks, resources, options)
  const worth = worthOf(view, calibration, set)
  const numbersAt = (price: number) => {
    const optima = Array.from(worth, (each) => localOptimum(each, price))
    return {
      means: Float32Array.from(optima, ({ mean }) => mean),
      logVariances: Float32Array.from(optima, ({ variance }) => Math.log(variance)),
    }
  }
  // Below every unit's worth α is in the order of worth: the budget says which stay, and they say γ.
  const least = worth.reduce((low, each) => (each > 0 ? Math.min(low, each) : low), 1)
  const selected = selectUnits({ set, resources, ...numbersAt(least / 2) }, options)
  const staying = selected.flatMap(({ mask, kept }) =>
    kept.map((unit) => worth[mask.offset + unit] as number),
  )
  const price = staying.reduce((low, each) => Math.min(low, each), Number.POSITIVE_INFINITY) / 2
  return { set, resources, ...numbersAt(price), selected }
}

/** What each unit writes, for each of its parameters. */
function worthOf(
  view: TransformerModel,
  calibration: Calibration,
  { masks, size }: LearnedMasks['set'],
): Float64Array {
  const worth = new Float64Array(size)
  for (const block of findPrunable(view)) {
    const { projection } = block
    const { moments, tokens } = calibration.get(block.key) ?? {}
    if (!projection || !moments) continue
    const weight = projection.read()
    for (const { dimension, units, parametersPerUnit } of block.choices) {
      const mask = masks.find((each) => each.dimension === dimension)
      for (const [index, unit] of mask ? units.entries() : []) {
        const written = writtenBy(unit, moments, weight, projection.columns)
        worth[(mask?.offset ?? 0) + index] = written / Math.max(tokens ?? 1, 1) / parametersPerUnit
      }
    }
  }
  return worth
}

/** tr(W_uᵀ · E[x_u x_uᵀ] · W_u), times the tokens. */
function writtenBy(
  { rows }: Unit,
  moments: Float64Array,
  weight: Float64Array,
  columns: number,
): number {
  const n = weight.length / columns
  let sum = 0
  for (const row of rows)
    for (const other of rows) {
      let dot = 0
      for (let column = 0; column < columns; column++)
        dot +=
          (weight[row * columns + column] as number) * (weight[other * columns + column] as number)
      sum += dot * (moments[row * n + other] as number)
    }
  return sum
}
