/** What a cut will save of the time, told from the times of operators and a few of the whole model. */
import { isGain } from '../bench/cost.js'
import type { Outline, PassContext } from '../plan/pass.js'
import type { PlanSlice } from '../plan/plan.js'
import { CostModel } from './cost-model.js'
import type { Subject } from './costs.js'
import { shareOf, type TargetResult, type TargetScale } from './target-scale.js'

/** Of the time: what a role saves at least, lest noise makes it free. */
const leastSaved = 0.01

/** What outlines will take, by the times of operators and some of the whole. */
export interface Forecast {
  readonly prices: ReadonlyMap<string, number>
  readonly roundTo: number
  /** Milliseconds of operators. */
  saved(slices: readonly PlanSlice[]): number
  /** reached ÷ asked of the target that is timed. */
  excess(slices: readonly PlanSlice[]): number
}

export async function forecastTime(
  scale: TargetScale,
  { target, before, asked }: TargetResult,
  most: Outline,
  { subject, context }: { readonly subject: Subject; readonly context: PassContext },
): Promise<Forecast> {
  const model = await CostModel.measure(subject, most.slices, target, context)
  // Operators alone say how times differ within a role; the whole model says what a role is worth in it.
  const scales = new Map<string, number>()
  for (const [role, slices] of model.byRole(most.slices)) {
    const results = await scale.measure({ slices })
    const found = results.find((each) => each.target === target)
    const share = found ? shareOf(found) : 1
    const left = isGain(target.kind) ? 1 / share : share
    scales.set(role, Math.max(leastSaved, 1 - left) / model.saved(slices))
  }
  const limit = isGain(target.kind) ? before / asked : asked / before
  return {
    prices: model.prices(scales),
    roundTo: model.roundTo,
    saved: (slices) => model.saved(slices),
    excess(slices) {
      const saved = [...model.byRole(slices)].map(
        ([role, own]) => (scales.get(role) ?? 0) * model.saved(own),
      )
      return (1 - saved.reduce((sum, each) => sum + each, 0)) / limit
    },
  }
}
