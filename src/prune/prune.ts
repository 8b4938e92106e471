/**
 * The main job: calibrate, decide, rewrite, check, write, measure. Everything a command does is here,
 * without a console.
 */
import { assertBatchesFit } from '../bench/room.js'
import type { Calibration } from '../calibrate/state.js'
import type { Batch } from '../data/batch.js'
import { AttncError } from '../errors.js'
import { chooseMetrics } from '../evaluate/choose-metrics.js'
import { comparedMetric } from '../evaluate/compared.js'
import type { Condition } from '../evaluate/condition.js'
import type { MetricName } from '../evaluate/metric-name.js'
import type { UndecidedRule } from '../evaluate/undecided.js'
import { judge, MetricMissed, type Verdict } from '../evaluate/verdict.js'
import type { Model } from '../graph/graph.js'
import type { Log } from '../log.js'
import { readModel } from '../model/model.js'
import { type LoadedModel, loadFrom } from '../model-folder/load.js'
import { checkOutput } from '../model-folder/output-folder.js'
import { applyPart } from '../plan/apply.js'
import type { ChosenPass, Skipped } from '../plan/pass.js'
import type { Plan, PlanPart } from '../plan/plan.js'
import type { RunOptions } from '../runtime/batches.js'
import { isKnown, renumberAfter } from '../vocabulary/batches.js'
import { idInputs } from '../vocabulary/find-vocabulary.js'
import { cutFolder, type FolderResult } from './apply-to-folder.js'
import { compareCosts } from './compare-costs.js'
import type { Subject } from './costs.js'
import { decidePlan } from './decide.js'
import { type MeasuredPair, measurePair } from './measure-pair.js'
import { readConfigs } from './stated-sizes.js'
import type { Target } from './target.js'
import type { TargetResult } from './target-scale.js'

/** What decides, on which data, and what has to hold before anything is written. */
export interface PruneOptions extends RunOptions {
  readonly source: LoadedModel
  /** Replays this and decides nothing. */
  readonly plan?: Plan | undefined
  /** Otherwise these decide, in this order. */
  readonly passes?: readonly ChosenPass[] | undefined
  /** Met by the first pass that can cut to any size, whatever ratio it was given. */
  readonly targets?: readonly Target[] | undefined
  readonly calibration?: Calibration | undefined
  readonly batches?: readonly Batch[] | undefined
  /** All the data, for passes that train. */
  readonly training?: readonly Batch[] | undefined
  /** undefined: a dry run. */
  readonly output?: string | undefined
  readonly force?: boolean | undefined
  readonly single: boolean
  readonly evaluate?:
    | {
        /** May be empty where only costs are asked for. */
        readonly batches: readonly Batch[]
        readonly metrics: readonly MetricName[]
        readonly failIf: readonly Condition[]
        /** What a condition within the noise does; see `judge`. */
        readonly undecided?: UndecidedRule | undefined
      }
    | undefined
}

/** What went, what that cost, and whether it is what was asked for. */
export interface PruneResult extends FolderResult {
  readonly plan: Plan
  /** Blocks that were asked for and can't lose anything, with the reason. */
  readonly skipped: readonly Skipped[]
  readonly targets: readonly TargetResult[]
  readonly measured: readonly MeasuredPair[]
  readonly verdicts: readonly Verdict[]
}

/** Errors: those of the passes, of plans, checks and writing, CONFIG_UNREADABLE, TOO_LITTLE_MEMORY, METRIC_MISSED. */
export async function prune(options: PruneOptions): Promise<PruneResult> {
  const { source, log } = options
  if (options.output !== undefined)
    checkOutput(options.output, { force: options.force, from: source.location.folder })
  const metrics = wantedMetrics(options)
  // Said before hours of work: configs that can't be read, data that are measured on at the end and don't fit.
  readConfigs(source.location.folder)
  for (const batches of [options.batches, options.evaluate?.batches])
    assertBatchesFit(source.model, batches ?? [], options.provider)
  const { plan, skipped, targets, input } = options.plan
    ? { plan: options.plan, skipped: [], targets: [], input: undefined }
    : await decidePlan({ ...options, passes: options.passes ?? [] })
  const pruned = loadFrom(source.location, source.file)
  log.info('Checking the pruned model against the masked one.')
  // Measured before anything is written: a run that fails its conditions leaves nothing.
  const { save, ...cut } = await cutFolder({ ...options, source: pruned, plan, digest: input })
  const found = { plan, skipped, targets, ...(await measure(options, metrics, pruned, plan)) }
  if (options.output === undefined) return { ...cut, ...found, written: undefined }
  log.info(`Writing "${options.output}".`)
  return { ...cut, ...found, written: await save(options.output, options.force) }
}

/** Errors: those of `chooseMetrics`. */
function wantedMetrics({ source, evaluate: wanted }: PruneOptions): MetricName[] {
  if (!wanted) return []
  const { batches, metrics: asked, failIf: conditions } = wanted
  return chooseMetrics(source.model, { batches, asked, conditions, hasReference: true })
}

/**
 * Data as the result numbers tokens. The dense model is then asked in those numbers too, about the tokens
 * that stay: as a mask of the cut.
 */
function asNumbered(
  dense: Model,
  parts: readonly PlanPart[],
  batches: readonly Batch[],
  log: Log,
): readonly Batch[] {
  const cut = parts.find(({ vocabulary }) => vocabulary)?.vocabulary
  if (!cut) return batches
  const known = batches.filter((batch) => isKnown(batch, cut))
  if (known.length === 0)
    throw new AttncError(
      'VOCABULARY_UNSEEN',
      'usage',
      'Every batch of the evaluation holds a token that goes.',
      {
        suggestions: [
          'Give the evaluation text to --data as well, or evaluate the new folder with "attnc eval": its tokenizer cuts such tokens into parts.',
        ],
      },
    )
  if (known.length < batches.length)
    log.warn(
      'VOCABULARY_UNSEEN',
      `${batches.length - known.length} of ${batches.length} batches of the evaluation hold tokens that go, and are left out; "attnc eval" on the new folder reads them in its own tokens.`,
    )
  const numbered = renumberAfter(parts, known, idInputs(readModel(dense.graph)))
  applyPart(dense.graph, { slices: [], vocabulary: cut }, { as: 'mask' })
  return numbered
}

type Judged = Pick<PruneResult, 'measured' | 'verdicts'>

async function measure(
  options: PruneOptions,
  metrics: readonly MetricName[],
  pruned: LoadedModel,
  { parts }: Plan,
): Promise<Judged> {
  const { source, single, evaluate: wanted } = options
  if (!wanted) return { measured: [], verdicts: [] }
  options.log.info('Measuring before and after.')
  const { failIf } = wanted
  const dense = loadFrom(source.location, source.file).model
  const batches = asNumbered(dense, parts, wanted.batches, options.log)
  const measured =
    metrics.length === 0
      ? []
      : await measurePair(dense, pruned.model, { ...options, batches, metrics })
  const [was, is] = [[], parts].map((each): Subject => ({ source, single, parts: each }))
  const costs = await compareCosts(failIf, was, is as Subject, options)
  const compared = measured.map(({ before, after }) => comparedMetric(before, after))
  const verdicts = judge(failIf, [...compared, ...costs], wanted.undecided)
  if (verdicts.some(({ isMissed }) => isMissed))
    throw new MetricMissed(
      verdicts,
      'Nothing was written. Ask for a lower --ratio or a wider --target, or give more --data.',
    )
  return { measured, verdicts }
}
