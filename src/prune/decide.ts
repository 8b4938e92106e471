/** Passes in their order, each on the model as the ones before left it, become one plan. */
import { calibrate } from '../calibrate/calibrate.js'
import type { Calibration } from '../calibrate/state.js'
import type { Batch } from '../data/batch.js'
import { AttncError } from '../errors.js'
import type { Model } from '../graph/graph.js'
import { assertFinite, matricesOf } from '../model/finite-weights.js'
import { readModel, type TransformerModel } from '../model/model.js'
import { type LoadedModel, loadFrom } from '../model-folder/load.js'
import { applyPart } from '../plan/apply.js'
import type { ChosenPass, PassContext, Skipped } from '../plan/pass.js'
import type { Plan, PlanPart } from '../plan/plan.js'
import type { RunOptions } from '../runtime/batches.js'
import { breathe } from '../runtime/breathe.js'
import { version } from '../version.js'
import { renumberAfter } from '../vocabulary/batches.js'
import { idInputs } from '../vocabulary/find-vocabulary.js'
import { meetTargets } from './meet-targets.js'
import type { Target } from './target.js'
import type { TargetResult } from './target-scale.js'

export interface DecideOptions extends RunOptions {
  readonly source: LoadedModel
  readonly passes: readonly ChosenPass[]
  readonly batches?: readonly Batch[] | undefined
  /** All the data, where that is more. */
  readonly training?: readonly Batch[] | undefined
  /** Statistics of the source, so of the first pass alone. */
  readonly calibration?: Calibration | undefined
  /** Only this file of the folder will be written. */
  readonly single: boolean
  /** What the first pass that can cut to any size has to meet. */
  readonly targets?: readonly Target[] | undefined
}

export interface Decided {
  readonly plan: Plan
  /** Blocks that were asked for and can't lose anything, with the reason. */
  readonly skipped: readonly Skipped[]
  /** What was asked and what was reached. */
  readonly targets: readonly TargetResult[]
  /** Digest of the source. */
  readonly input: string
}

/** Errors: WEIGHT_NOT_FINITE, those of the passes and of `meetTargets`. The source stays as it is. */
export async function decidePlan(options: DecideOptions): Promise<Decided> {
  const { source, passes, batches, log } = options
  let { model } = source
  let view = readModel(model.graph)
  const ids = idInputs(view)
  const inputsOf = (index: number) => ({
    batches,
    canCalibrate: batches !== undefined || (index === 0 && options.calibration !== undefined),
  })
  const { signal } = options
  for (const [index, pass] of passes.entries()) {
    await breathe(signal)
    pass.check?.({ view, ...inputsOf(index) })
  }
  const cutting = findCutting(options)
  for (const matrix of matricesOf(view)) {
    await breathe(signal)
    assertFinite(matrix)
  }
  const hasCache = await holdsCache(options, view)
  const parts: PlanPart[] = []
  let last: readonly PlanPart[] = []
  const skipped: Skipped[] = []
  const results: TargetResult[] = []
  for (const [index, pass] of passes.entries()) {
    if (index > 0) {
      if (index === 1) model = loadFrom(source.location, source.file).model
      for (const part of last) applyPart(model.graph, part)
      view = readModel(model.graph)
    }
    await breathe(signal)
    const current = model
    const own = batches && renumberAfter(parts, batches, ids)
    let statistics = index === 0 ? options.calibration : undefined
    const measure = async (): Promise<Calibration> => {
      if (!statistics && own) {
        log.info(
          `Calibrating on ${own.length} ${own.length === 1 ? 'batch' : 'batches'}, then deciding what goes.`,
        )
        statistics = await calibrate(current, { ...options, batches: own, moments: true })
      }
      return statistics ?? new Map()
    }
    const context: PassContext = {
      ...options,
      ...inputsOf(index),
      batches: own,
      training: options.training ?? batches,
      model,
      view,
      hasCache,
      siblings: () => siblingsOf(options, parts),
      calibrate: measure,
    }
    if (pass === cutting && pass.cut) {
      const subject = { source, single: options.single, parts: [...parts] }
      const targets = options.targets ?? []
      const met = await meetTargets({ cut: pass.cut, targets, subject, context })
      last = [met.part]
      results.push(...met.results)
    } else {
      const decided = await pass.decide(context)
      last = 'slices' in decided ? [decided] : decided
    }
    parts.push(...last)
    await breathe(signal)
    skipped.push(...(pass.skipped?.(view) ?? []))
  }
  const input = await source.digest(options.signal)
  return {
    plan: { parts, made: { by: `attnc ${version}`, input } },
    skipped,
    targets: results,
    input,
  }
}

/** The pass that meets the targets. Error: TARGET_PASS. */
function findCutting({ targets = [], passes, log }: DecideOptions): ChosenPass | undefined {
  if (targets.length === 0) return undefined
  const found = passes.find(({ cut }) => cut)
  if (!found)
    throw new AttncError('TARGET_PASS', 'usage', 'No pass of this run can cut to a target.', {
      suggestions: ['Add --pass amp, or leave --target away.'],
    })
  for (const { name } of passes)
    if (name !== found.name)
      log.warn('TARGET_SCOPE', `"${found.name}" meets the targets; "${name}" doesn't look at them.`)
  return found
}

function siblingsOf({ source, single }: DecideOptions, done: readonly PlanPart[]): Model[] {
  const others = single ? [] : source.location.models.filter((file) => file !== source.file)
  return others.map((file) => {
    const { model } = loadFrom(source.location, file)
    for (const part of done) applyPart(model.graph, part)
    return model
  })
}

/** Whether members of heads show in what hosts feed or get: keys and values of a cache, in any of the models. */
async function holdsCache(
  { source, single, signal }: DecideOptions,
  view: TransformerModel,
): Promise<boolean> {
  const shows = ({ dimensions }: TransformerModel): boolean =>
    dimensions.some(
      ({ role, interface: shown }) =>
        (role === 'headSize' || role === 'valueHeadSize') && shown.length > 0,
    )
  if (shows(view)) return true
  for (const file of single ? [] : source.location.models) {
    await breathe(signal)
    if (file !== source.file && shows(readModel(loadFrom(source.location, file).model.graph)))
      return true
  }
  return false
}
