/** `attnc eval` behind its flags. */
import { describeQuality } from '../amounts.js'
import { judge, MetricMissed, verdictsJson } from '../evaluate/condition.js'
import { defaultMetric, evaluate, type Measured } from '../evaluate/evaluate.js'
import type { MetricName } from '../evaluate/metric-name.js'
import { loadModel } from '../model-folder/load.js'
import type { MeasuredPair } from '../prune/measure-pair.js'
import { chooseProvider, type ProviderName } from '../runtime/provider.js'
import { chooseData, type DataChoice } from './choose-data.js'
import type { CommandContext } from './command-context.js'
import { readConditions, verdictCases } from './evaluation.js'
import { writeJUnit } from './junit.js'
import { describeChange, table } from './text.js'

export interface EvalFlags extends DataChoice {
  readonly data: string
  readonly reference?: string | undefined
  readonly metric?: readonly MetricName[] | undefined
  readonly 'fail-if'?: readonly string[] | undefined
  readonly junit?: string | undefined
  readonly provider: 'auto' | ProviderName
}

/** Cosine and overlap are of both models already. */
const comparing: ReadonlySet<MetricName> = new Set<MetricName>(['cosine', 'top10'])

export type EvalJson = ReturnType<typeof evalJson>

export async function runEval(
  path: string,
  flags: EvalFlags,
  context: CommandContext,
): Promise<{ readonly json: EvalJson; readonly lines: readonly string[] }> {
  const conditions = readConditions(flags['fail-if'], true)
  const source = loadModel(path)
  const reference = flags.reference === undefined ? undefined : loadModel(flags.reference).model
  const batches = chooseData(source, flags.data, flags, context.log)
  const metrics = flags.metric ?? [
    ...new Set([
      defaultMetric(source.model, batches, reference !== undefined),
      ...conditions.map(({ metric }) => metric),
    ]),
  ]
  const provider = await chooseProvider(flags.provider)
  const options = { ...context, provider: provider.name, batches }
  const found = await evaluate(source.model, { ...options, metrics, reference })
  const alone = metrics.filter((metric) => !comparing.has(metric))
  const others = reference ? await evaluate(reference, { ...options, metrics: alone }) : []
  const pairs = found.map((after) => ({
    before: others.find(({ metric }) => metric === after.metric),
    after,
  }))
  const verdicts = judge(conditions, pairs)
  if (flags.junit) writeJUnit(flags.junit, 'attnc eval', verdictCases(verdicts))
  if (verdicts.some(({ isMissed }) => isMissed))
    throw new MetricMissed(verdicts, 'Run without --fail-if to see all metrics.')
  return {
    json: evalJson(found, others, verdictsJson(verdicts)),
    lines: describePairs(pairs),
  }
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
    ...(found.length === 1 && only ? only : { metrics: found }),
    ...(others.length > 0 && { reference: others }),
    ...(conditions.length > 0 && { conditions }),
  }
}

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
