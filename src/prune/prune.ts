/**
 * The main job: calibrate, decide, rewrite, check, write, measure. Everything a command does is here,
 * without a console.
 */
import { decideAmp } from '../../passes/amp/decide.js'
import { type AmpOptions, ampDefaults } from '../../passes/amp/options.js'
import { findSkipped, type Skipped } from '../../passes/amp/skipped.js'
import { type Calibration, calibrate } from '../calibrate/calibrate.js'
import type { Batch } from '../data/batch.js'
import { AttncError } from '../errors.js'
import { type Condition, judge, MetricMissed, type Verdict } from '../evaluate/condition.js'
import { defaultMetric, evaluate, type Measured } from '../evaluate/evaluate.js'
import type { MetricName } from '../evaluate/metric-name.js'
import { assertFiniteWeights } from '../model/finite-weights.js'
import { readModel } from '../model/model.js'
import { type LoadedModel, loadFrom } from '../model-folder/load.js'
import { checkOutput } from '../model-folder/output-folder.js'
import type { StoredPlan } from '../plan/plan-file.js'
import type { RunOptions } from '../runtime/batches.js'
import { version } from '../version.js'
import { applyToFolder, type FolderResult } from './apply-to-folder.js'

export interface PruneOptions extends RunOptions {
  readonly source: LoadedModel
  /** Replays this and decides nothing. */
  readonly stored?: StoredPlan | undefined
  readonly calibration?: Calibration | undefined
  readonly batches?: readonly Batch[] | undefined
  readonly amp: Partial<AmpOptions>
  /** undefined: a dry run. */
  readonly output?: string | undefined
  readonly force?: boolean | undefined
  readonly single: boolean
  readonly evaluate?:
    | {
        readonly batches: readonly Batch[]
        readonly metrics: readonly MetricName[]
        readonly failIf: readonly Condition[]
      }
    | undefined
}

export interface PruneResult extends FolderResult {
  readonly stored: StoredPlan
  /** Blocks that were asked for and can't lose anything, with the reason. */
  readonly skipped: readonly Skipped[]
  readonly measured: readonly MeasuredPair[]
  readonly verdicts: readonly Verdict[]
}

/** A metric of the dense and of the pruned model; of the pruned one only where it compares the two. */
export interface MeasuredPair {
  readonly before: Measured | undefined
  readonly after: Measured
}

/** Errors: those of the passes, of plans, checks and writing, METRIC_MISSED. */
export async function prune(options: PruneOptions): Promise<PruneResult> {
  const { source, log } = options
  if (options.output !== undefined)
    checkOutput(options.output, { force: options.force, from: source.location.folder })
  const stored = options.stored ?? (await decide(options))
  const pruned = loadFrom(source.location, source.file)
  log.info('Checking the pruned model against the masked one.')
  // Measured before anything is written: a run that fails its conditions leaves nothing.
  const trial = await applyToFolder({ ...options, source: pruned, stored, output: undefined })
  const skipped = options.stored
    ? []
    : findSkipped(readModel(source.model.graph), ampOptions(options))
  const found = { stored, skipped, ...(await measure(options, pruned)) }
  if (options.output === undefined) return { ...trial, ...found }
  log.info(`Writing "${options.output}".`)
  const fresh = loadFrom(source.location, source.file)
  const result = await applyToFolder({
    ...options,
    source: fresh,
    stored,
    output: options.output,
    check: trial.check,
  })
  return { ...result, ...found }
}

const ampOptions = (options: PruneOptions): AmpOptions => ({
  ...ampDefaults,
  values: !hasCache(options),
  ...options.amp,
})

async function decide(options: PruneOptions): Promise<StoredPlan> {
  const { source, batches, log } = options
  const { model } = source
  const view = readModel(model.graph)
  const chosen = ampOptions(options)
  const { criterion, recover, ratio } = chosen
  const needsData = !['magnitude', 'random'].includes(criterion) || recover === 'ridge'
  if (needsData && !batches && !options.calibration)
    throw new AttncError('NO_DATA', 'usage', 'Pruning is decided on data, and none was given.', {
      suggestions: [
        'Give some with --data: a text file for a language model, an .npz with one array per input for others.',
        'Without data: --criterion magnitude --recover none.',
      ],
    })
  assertFiniteWeights(view)
  if (batches) log.info(`Calibrating on ${batches.length} batches, then deciding what goes.`)
  const calibration =
    options.calibration ??
    (batches && needsData
      ? await calibrate(model, { ...options, batches, moments: true })
      : new Map())
  const decision = await decideAmp({ ...options, model, view, calibration, batches }, chosen)
  const { slices, projections } = decision
  if (slices.length === 0)
    throw new AttncError(
      'NOTHING_REMOVED',
      'partial',
      `A ratio of ${ratio} is less than the smallest unit that could go.`,
      { suggestions: ['Ask for a higher --ratio.'] },
    )
  log.info(
    `${Math.round(decision.removed).toLocaleString('en')} of ${Math.round(decision.prunable).toLocaleString('en')} parameters of attention and feed-forward blocks go.`,
  )
  const digest = await source.digest(options.signal)
  return {
    plan: {
      format: 1,
      made: { by: `attnc ${version}`, pass: 'amp', options: chosen, input: digest },
      slices,
    },
    projections,
  }
}

/** Whether a model that will be written holds a cache: its hosts expect the same shape in every layer. */
function hasCache({ source, single }: PruneOptions): boolean {
  const files = single ? [source.file] : source.location.models
  return files.some((file) => {
    const { graph } = file === source.file ? source.model : loadFrom(source.location, file).model
    return graph.inputs.some(
      ({ type }) => type?.dims?.length === 4 && type.dims.some((dim) => typeof dim === 'string'),
    )
  })
}

async function measure(
  options: PruneOptions,
  pruned: LoadedModel,
): Promise<Pick<PruneResult, 'measured' | 'verdicts'>> {
  const wanted = options.evaluate
  if (!wanted) return { measured: [], verdicts: [] }
  options.log.info('Measuring quality before and after.')
  const dense = loadFrom(options.source.location, options.source.file).model
  const metrics =
    wanted.metrics.length > 0
      ? wanted.metrics
      : [
          ...new Set([
            defaultMetric(dense, wanted.batches, true),
            ...wanted.failIf.map((c) => c.metric),
          ]),
        ]
  const common = { ...options, batches: wanted.batches, metrics }
  const alone = metrics.filter((metric) => metric !== 'cosine' && metric !== 'top10')
  const before = alone.length > 0 ? await evaluate(dense, { ...common, metrics: alone }) : []
  const after = await evaluate(pruned.model, { ...common, reference: dense })
  const measured = after.map((each) => ({
    before: before.find(({ metric }) => metric === each.metric),
    after: each,
  }))
  const verdicts = judge(wanted.failIf, measured)
  if (verdicts.some(({ isMissed }) => isMissed))
    throw new MetricMissed(
      verdicts,
      'Nothing was written. Ask for a lower --ratio, or give more --data.',
    )
  return { measured, verdicts }
}
