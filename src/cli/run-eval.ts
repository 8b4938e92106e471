/** `attnc eval` behind its flags. */
import { describeQuality } from '../amounts.js'
import { chooseMetrics } from '../evaluate/choose-metrics.js'
import { comparedMetric } from '../evaluate/compared.js'
import { evaluate, type Measured } from '../evaluate/evaluate.js'
import { isComparing, type MetricName } from '../evaluate/metric-name.js'
import type { UndecidedRule } from '../evaluate/undecided.js'
import { judge, MetricMissed, verdictsJson } from '../evaluate/verdict.js'
import { loadModel } from '../model-folder/load.js'
import { isSingle } from '../prune/apply-to-folder.js'
import { compareCosts } from '../prune/compare-costs.js'
import type { MeasuredPair } from '../prune/measure-pair.js'
import { chooseProvider, type ProviderName } from '../runtime/provider.js'
import { checkWritable } from '../write-whole.js'
import { chooseData, chooseDataOfOther, type DataChoice } from './choose-data.js'
import type { CommandContext } from './command-context.js'
import { describeVerdicts, readConditions, verdictCases } from './evaluation.js'
import { writeFailure, writeJUnit } from './junit.js'
import { describeChange, table } from './text.js'

export interface EvalFlags extends DataChoice {
  readonly data: string
  readonly reference?: string | undefined
  readonly metric?: readonly MetricName[] | undefined
  readonly 'fail-if'?: readonly string[] | undefined
  readonly undecided?: UndecidedRule | undefined
  readonly junit?: string | undefined
  readonly provider: 'auto' | ProviderName
}

export type EvalJson = ReturnType<typeof evalJson>

interface Outcome {
  readonly json: EvalJson
  readonly lines: readonly string[]
}

export async function runEval(
  path: string,
  flags: EvalFlags,
  context: CommandContext,
): Promise<Outcome> {
  if (flags.junit !== undefined) checkWritable(flags.junit)
  try {
    return await measure(path, flags, context)
  } catch (error) {
    // Conditions that are missed were written as cases of their own.
    const isJudged = error instanceof MetricMissed
    if (flags.junit !== undefined && !isJudged) writeFailure(flags.junit, 'eval', error)
    throw error
  }
}

async function measure(path: string, flags: EvalFlags, context: CommandContext): Promise<Outcome> {
  const conditions = readConditions(flags['fail-if'])
  const source = loadModel(path)
  const original = flags.reference === undefined ? undefined : loadModel(flags.reference)
  const reference = original?.model
  const batches = await chooseData(source, flags.data, flags, context)
  const referenceBatches =
    original && (await chooseDataOfOther(original, { source, batches }, flags.data, flags, context))
  const hasReference = original !== undefined
  const choice = { batches, asked: flags.metric ?? [], conditions, hasReference }
  const metrics = chooseMetrics(source.model, choice)
  const { name: provider } = await chooseProvider(flags.provider)
  const options = { ...context, provider, batches }
  const found = await evaluate(source.model, {
    ...options,
    metrics,
    reference,
    referenceBatches,
  })
  const alone = metrics.filter((metric) => !isComparing(metric))
  const others = reference
    ? await evaluate(reference, {
        ...options,
        batches: referenceBatches ?? batches,
        metrics: alone,
      })
    : []
  const pairs = found.map((after) => ({
    before: others.find(({ metric }) => metric === after.metric),
    after,
  }))
  const costs = await compareCosts(
    conditions,
    original && { source: original, single: isSingle(flags.reference ?? ''), parts: [] },
    { source, single: isSingle(path), parts: [] },
    options,
  )
  const compared = [...pairs.map(({ before, after }) => comparedMetric(before, after)), ...costs]
  const verdicts = judge(conditions, compared, flags.undecided)
  if (flags.junit) writeJUnit(flags.junit, 'attnc eval', verdictCases(verdicts))
  const lines = describePairs(pairs)
  if (verdicts.length > 0) lines.push('', ...describeVerdicts(verdicts).slice(0, -1))
  if (verdicts.some(({ isMissed }) => isMissed))
    throw new MetricMissed(verdicts, 'Run without --fail-if to see all metrics.', lines)
  return { json: evalJson(found, others, verdictsJson(verdicts)), lines }
}

/** One metric lies at the top; several in a list. */
function evalJson(
  found: readonly Measured[],
  others: readonly Measured[],
  conditions: ReturnType<typeof verdictsJson>,
) {
  const [only] = found
  return {
    format: 1 as const,
    ...(found.length === 1 && only ? plain(only) : { metrics: found.map(plain) }),
    ...(others.length > 0 && { reference: others.map(plain) }),
    ...(conditions.length > 0 && { conditions }),
  }
}

const plain = ({ metric, value, samples }: Measured): Measured => ({ metric, value, samples })

function describePairs(pairs: readonly MeasuredPair[]): string[] {
  if (pairs.every(({ before }) => before === undefined))
    return table(
      ['metric', 'value', 'samples'],
      pairs.map(({ after: { metric, value, samples } }) => [
        metric,
        describeQuality(value),
        samples,
      ]),
    )
  return table(
    ['metric', 'reference', 'model', 'change', 'samples'],
    pairs.map(({ before, after: { metric, value, samples } }) => [
      metric,
      before ? describeQuality(before.value) : '',
      describeQuality(value),
      before ? describeChange(before.value, value) : '',
      samples,
    ]),
  )
}
