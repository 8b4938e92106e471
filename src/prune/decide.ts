/** Passes in their order, each on the model as the ones before left it, become one plan. */
import { type Calibration, calibrate } from '../calibrate/calibrate.js'
import type { Batch } from '../data/batch.js'
import type { Model } from '../graph/graph.js'
import { assertFiniteWeights } from '../model/finite-weights.js'
import { readModel } from '../model/model.js'
import { type LoadedModel, loadFrom } from '../model-folder/load.js'
import { applyPart } from '../plan/apply.js'
import type { ChosenPass, Skipped } from '../plan/pass.js'
import type { Plan, PlanPart } from '../plan/plan.js'
import type { RunOptions } from '../runtime/batches.js'
import { version } from '../version.js'

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
}

export interface Decided {
  readonly plan: Plan
  /** Blocks that were asked for and can't lose anything, with the reason. */
  readonly skipped: readonly Skipped[]
}

/** Errors: WEIGHT_NOT_FINITE, those of the passes. The source stays as it is. */
export async function decidePlan(options: DecideOptions): Promise<Decided> {
  const { source, passes, batches, log } = options
  let { model } = source
  let view = readModel(model.graph)
  const inputsOf = (index: number) => ({
    batches,
    canCalibrate: batches !== undefined || (index === 0 && options.calibration !== undefined),
  })
  for (const [index, pass] of passes.entries()) pass.check?.({ view, ...inputsOf(index) })
  assertFiniteWeights(view)
  const hasCache = holdsCache(options)
  const parts: PlanPart[] = []
  let last: readonly PlanPart[] = []
  const skipped: Skipped[] = []
  for (const [index, pass] of passes.entries()) {
    if (index > 0) {
      if (index === 1) model = loadFrom(source.location, source.file).model
      for (const part of last) applyPart(model.graph, part)
      view = readModel(model.graph)
    }
    const current = model
    let statistics = index === 0 ? options.calibration : undefined
    const measure = async (): Promise<Calibration> => {
      if (!statistics && batches) {
        log.info(`Calibrating on ${batches.length} batches, then deciding what goes.`)
        statistics = await calibrate(current, { ...options, batches, moments: true })
      }
      return statistics ?? new Map()
    }
    const decided = await pass.decide({
      ...options,
      ...inputsOf(index),
      batches,
      training: options.training ?? batches,
      model,
      view,
      hasCache,
      siblings: () => siblingsOf(options, parts),
      calibrate: measure,
    })
    last = 'slices' in decided ? [decided] : decided
    parts.push(...last)
    skipped.push(...(pass.skipped?.(view) ?? []))
  }
  const input = await source.digest(options.signal)
  return { plan: { parts, made: { by: `attnc ${version}`, input } }, skipped }
}

function siblingsOf({ source, single }: DecideOptions, done: readonly PlanPart[]): Model[] {
  const others = single ? [] : source.location.models.filter((file) => file !== source.file)
  return others.map((file) => {
    const { model } = loadFrom(source.location, file)
    for (const part of done) applyPart(model.graph, part)
    return model
  })
}

function holdsCache({ source, single }: DecideOptions): boolean {
  const files = single ? [source.file] : source.location.models
  return files.some((file) => {
    const { graph } = file === source.file ? source.model : loadFrom(source.location, file).model
    return graph.inputs.some(
      ({ type }) => type?.dims?.length === 4 && type.dims.some((dim) => typeof dim === 'string'),
    )
  })
}
