/** `attnc prune` behind its flags: everything is read and refused before the long work begins. */
import { loadCalibrationFor } from '../calibrate/calibration-file.js'
import { finishState, isComplete } from '../calibrate/state.js'
import { AttncError, exitCodes } from '../errors.js'
import type { MetricName } from '../evaluate/metric-name.js'
import type { UndecidedRule } from '../evaluate/undecided.js'
import { MetricMissed, verdictsJson } from '../evaluate/verdict.js'
import { readModel } from '../model/model.js'
import { checkRoom } from '../model-folder/check-room.js'
import { type LoadedModel, loadModel } from '../model-folder/load.js'
import { checkOutput } from '../model-folder/output-folder.js'
import type { ChosenPass } from '../plan/pass.js'
import { printablePlan, readPlan, writePlan } from '../plan/plan-file.js'
import { planJson } from '../plan/plan-json.js'
import { isSingle } from '../prune/apply-to-folder.js'
import { choosePasses } from '../prune/choose-passes.js'
import { refuseContradictions } from '../prune/contradictions.js'
import { type PruneOptions, type PruneResult, prune } from '../prune/prune.js'
import { parseTargets } from '../prune/target.js'
import { targetsJson } from '../prune/target-scale.js'
import { type ChosenProvider, chooseProvider, type ProviderName } from '../runtime/provider.js'
import { checkWritable } from '../write-whole.js'
import { chooseCalibration, chooseData, type DataChoice } from './choose-data.js'
import type { CommandContext } from './command-context.js'
import { describeResult } from './describe-prune.js'
import { checkCases, readConditions, verdictCases } from './evaluation.js'
import { writeFailure, writeJUnit } from './junit.js'
import { folderJson, metricsJson } from './prune-json.js'
import { reportPrune } from './report-prune.js'
import { checkPage } from './run-report.js'
import { counted, shellWord } from './text.js'

/** What passes read is in there too, and is theirs to understand. */
export interface PruneFlags extends DataChoice {
  readonly output?: string | undefined
  readonly force: boolean
  readonly 'dry-run': boolean
  readonly plan?: string | undefined
  readonly 'plan-out'?: string | undefined
  readonly data?: string | undefined
  readonly calibration?: string | undefined
  readonly pass: readonly string[]
  readonly target?: readonly string[] | undefined
  readonly eval?: string | undefined
  readonly 'eval-samples'?: number | undefined
  readonly metric?: readonly MetricName[] | undefined
  readonly 'fail-if'?: readonly string[] | undefined
  readonly undecided?: UndecidedRule | undefined
  readonly junit?: string | undefined
  readonly report?: string | undefined
  readonly provider: 'auto' | ProviderName
  readonly seed: number
}

export type PruneJson = ReturnType<typeof pruneJson> & ReturnType<typeof dataOf>

/** What was read, as it was named. */
const dataOf = ({ data, eval: judged, seed }: PruneFlags) => ({
  data: data ?? null,
  eval: judged ?? null,
  seed,
})

export async function runPrune(
  path: string,
  flags: PruneFlags,
  context: CommandContext,
): Promise<{ json: PruneJson; lines: readonly string[]; exitCode: number | undefined }> {
  const { junit, 'plan-out': planOut } = flags
  for (const file of [junit, planOut]) if (file !== undefined) checkWritable(file)
  try {
    const { options, provider } = await readOptions(path, flags, context)
    const result = await prune(options)
    if (planOut) writePlan(planOut, result.plan)
    if (junit)
      writeJUnit(junit, 'attnc prune', [
        ...checkCases(result.check),
        ...verdictCases(result.verdicts),
      ])
    const isPrinted = flags['dry-run'] && !planOut
    const json = { ...pruneJson(result, provider, isPrinted), ...dataOf(flags) }
    const { report: page, output: pruned } = flags
    const report =
      page !== undefined && pruned !== undefined
        ? await reportPrune(
            {
              original: path,
              pruned,
              page,
              json,
              text: flags.eval ?? (flags.data === 'self' ? undefined : flags.data),
              provider: provider.name,
            },
            context,
          )
        : []
    return {
      json,
      lines: [
        ...describeResult(result),
        ...describeSkipped(result),
        ...(report.length > 0 ? ['', ...report] : []),
        ...nextSteps(flags, path),
      ],
      exitCode: result.skipped.length > 0 ? exitCodes.partial : undefined,
    }
  } catch (error) {
    if (junit && error instanceof MetricMissed)
      writeJUnit(junit, 'attnc prune', verdictCases(error.verdicts))
    else if (junit) writeFailure(junit, 'prune', error)
    throw error
  }
}

async function readOptions(
  path: string,
  flags: PruneFlags,
  context: CommandContext,
): Promise<{ readonly options: PruneOptions; readonly provider: ChosenProvider }> {
  const { output, force } = flags
  if (output === undefined && !flags['dry-run'])
    throw new AttncError('OUTPUT_MISSING', 'usage', 'There is no output folder.', {
      suggestions: ['Name one with -o, or add --dry-run to see what would go.'],
    })
  if (flags.report !== undefined) checkPage(flags.report, force)
  const targets = parseTargets(flags.target ?? [])
  const failIf = readConditions(flags['fail-if'])
  refuseContradictions(targets, failIf)
  const source = loadModel(path)
  if (output !== undefined) {
    checkOutput(output, {
      force,
      from: source.folder,
      data: [flags.data, flags.eval, flags.calibration],
    })
    checkRoom(output, source, context.log)
  }
  const { choice } = source.location
  if (choice && !isSingle(path)) context.log.info(`Read ${choice}.`)
  const view = readModel(source.model.graph)
  const plan = flags.plan === undefined ? undefined : readPlan(flags.plan)
  const passes = plan ? [] : choosePasses(flags.pass, { ...flags }, view)
  const calibration =
    flags.calibration === undefined
      ? undefined
      : await readStatistics(flags.calibration, source, context)
  const isJudged = flags.eval !== undefined || failIf.length > 0
  const evaluate = isJudged
    ? { ...(await readEvaluation(source, flags, context)), failIf, undecided: flags.undecided }
    : undefined
  const inputs = await chooseInputs(source, flags, passes, context)
  const provider = await chooseProvider(flags.provider)
  const options: PruneOptions = {
    ...context,
    provider: provider.name,
    source,
    plan,
    passes,
    targets,
    ...inputs,
    calibration,
    output,
    force,
    single: isSingle(path),
    evaluate,
  }
  return { options, provider }
}

async function readStatistics(path: string, source: LoadedModel, context: CommandContext) {
  const state = loadCalibrationFor(path, await source.digest(context.signal))
  if (!isComplete(state))
    context.log.warn(
      'CALIBRATION_PARTIAL',
      `"${path}" holds ${state.done.size} of ${state.key.batches} batches.`,
    )
  return finishState(state)
}

/** What is calibrated on, and all there is of it for passes that train on it or count its tokens. */
async function chooseInputs(
  source: LoadedModel,
  flags: PruneFlags,
  passes: readonly ChosenPass[],
  context: CommandContext,
): Promise<Pick<PruneOptions, 'batches' | 'training'>> {
  const { data } = flags
  if (data === undefined) return {}
  const phases = new Set(passes.map(({ phase }) => phase))
  if (data === 'self' && phases.has('vocabulary'))
    throw new AttncError(
      'SELF_DATA',
      'usage',
      'Which tokens are in use can’t be counted in text that the model makes up.',
      { suggestions: ['Give all the text that counts with --data: .txt, .md or .jsonl.'] },
    )
  const batches = await chooseCalibration(source, data, flags, context)
  const isLearning = passes.some((pass) => pass.isLearning)
  // What is drawn or made up has no more to give.
  const isRead = data !== 'self' && data !== 'random'
  const isWhole = isRead && (isLearning || phases.has('recover') || phases.has('vocabulary'))
  return { batches, training: isWhole ? await chooseData(source, data, flags, context) : undefined }
}

async function readEvaluation(source: LoadedModel, flags: PruneFlags, context: CommandContext) {
  const choice = { ...flags, samples: flags['eval-samples'], tokens: undefined }
  const batches = flags.eval ? await chooseData(source, flags.eval, choice, context) : []
  return { batches, metrics: flags.metric ?? [] }
}

function pruneJson(result: PruneResult, provider: ChosenProvider, isPrinted: boolean) {
  const { measured, verdicts, skipped, targets } = result
  const plan = isPrinted ? printablePlan(result.plan) : planJson(result.plan)
  return {
    ...folderJson(plan, result, provider),
    targets: targetsJson(targets),
    metrics: metricsJson(measured),
    conditions: verdictsJson(verdicts),
    skipped,
    ...(skipped.length > 0 && {
      error: {
        code: 'PARTIAL',
        message: `${skipped.length} of the blocks could not lose anything.`,
        suggestions: ['Run "attnc inspect --explain" to see why, or protect them.'],
      },
    }),
  }
}

function describeSkipped({ skipped }: PruneResult): string[] {
  if (skipped.length === 0) return []
  return [
    '',
    `Partial: ${counted(skipped.length, 'block')} could not lose anything:`,
    ...skipped.map(({ block, layer, reason }) => `  ${block} (layer ${layer}): ${reason}`),
  ]
}

function nextSteps(flags: PruneFlags, path: string): string[] {
  if (flags['plan-out'] && flags['dry-run'])
    return [
      `Carry it out: attnc apply ${shellWord(path)} --plan ${shellWord(flags['plan-out'])} -o OUT`,
    ]
  return flags['dry-run'] ? ['Leave --dry-run away and name a folder with -o to do it.'] : []
}
