/** `attnc sweep` behind its flags. */
import { join } from 'node:path'
import { describeQuality } from '../amounts.js'
import { defaultMetric } from '../evaluate/evaluate.js'
import type { MetricName } from '../evaluate/metric-name.js'
import { readModel } from '../model/model.js'
import { loadModel } from '../model-folder/load.js'
import { parseRatio } from '../plan/numbers.js'
import { isSingle } from '../prune/apply-to-folder.js'
import { choosePasses } from '../prune/choose-passes.js'
import { type Sweep, sweep } from '../prune/sweep.js'
import { chooseProvider, type ProviderName } from '../runtime/provider.js'
import { checkWritable } from '../write-whole.js'
import { chooseCalibration, chooseData, type DataChoice } from './choose-data.js'
import type { CommandContext } from './command-context.js'
import { describeBytes, describeChange, describeCount, shellWord, table } from './text.js'

/** What passes read is in there too, and is theirs to understand. */
export interface SweepFlags extends DataChoice {
  readonly ratios: string
  readonly output: string
  readonly data?: string | undefined
  readonly eval: string
  readonly 'eval-samples'?: number | undefined
  readonly metric?: MetricName | undefined
  readonly pass: readonly string[]
  readonly provider: 'auto' | ProviderName
}

export async function runSweep(
  path: string,
  flags: SweepFlags,
  passFlags: Readonly<Record<string, unknown>>,
  context: CommandContext,
): Promise<{ readonly json: Sweep; readonly lines: readonly string[] }> {
  const ratios = [...new Set(flags.ratios.split(',').map(parseRatio))].sort((a, b) => a - b)
  checkWritable(join(flags.output, 'sweep.json'))
  const source = loadModel(path)
  const view = readModel(source.model.graph)
  const passesOf = (ratio: number) =>
    choosePasses(flags.pass, { ...passFlags, ratio: String(ratio) }, view)
  passesOf(ratios[0] as number)
  const batches = flags.data
    ? await chooseCalibration(source, flags.data, flags, context)
    : undefined
  const choice = { ...flags, samples: flags['eval-samples'], tokens: undefined }
  const wanted = await chooseData(source, flags.eval, choice, context)
  const metric = flags.metric ?? defaultMetric(source.model, wanted, true)
  const { name: provider } = await chooseProvider(flags.provider)
  const json = await sweep({
    ...context,
    provider,
    source,
    ratios,
    passesOf,
    settings: { pass: flags.pass, ...passFlags },
    batches,
    evaluate: { batches: wanted, metric },
    output: flags.output,
    single: isSingle(path),
  })
  return { json, lines: describeSweep(json, path, flags.output) }
}

function describeSweep({ points, knee }: Sweep, path: string, folder: string): string[] {
  const [first] = points
  const rows = points.map((point) => [
    String(point.ratio),
    describeCount(point.parameters),
    describeBytes(point.bytes),
    describeCount(point.flopsPerToken),
    describeQuality(point.value),
    first && point !== first ? describeChange(first.value, point.value) : '',
    point.ratio === knee ? '← knee' : '',
  ])
  return [
    ...table(['ratio', 'parameters', 'weights', 'FLOPs', first?.metric ?? '', 'change', ''], rows),
    '',
    `Plans: ${folder}. Carry one out: attnc apply ${shellWord(path)} --plan ${shellWord(join(folder, `plan-${knee ?? points.at(-1)?.ratio}.json`))} -o OUT`,
  ]
}
