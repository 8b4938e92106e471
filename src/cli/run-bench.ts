/** `attnc bench` behind its flags, and its result for people. */
import { type BenchEntry, type BenchResult, bench } from '../bench/bench.js'
import type { Ratio, Spread } from '../bench/statistics.js'
import { findRandomLength } from '../data/random-length.js'
import { AttncError } from '../errors.js'
import { readHostConfig } from '../generate/host-config.js'
import { readModel } from '../model/model.js'
import { type LoadedModel, loadModel } from '../model-folder/load.js'
import { isSingle } from '../prune/apply-to-folder.js'
import { chooseProvider, type ProviderName } from '../runtime/provider.js'
import { chooseData } from './choose-data.js'
import type { CommandContext } from './command-context.js'
import { describeBytes, describeCount, table } from './text.js'

export interface BenchFlags {
  readonly batch: number
  readonly 'sequence-length'?: number | undefined
  readonly 'decode-tokens': number
  readonly runs: number
  readonly seconds: number
  readonly data?: string | undefined
  readonly memory: boolean
  readonly seed: number
  readonly provider: 'auto' | ProviderName
}

export async function runBench(
  paths: readonly string[],
  flags: BenchFlags,
  context: CommandContext,
): Promise<BenchResult> {
  const models = paths.map((path) => loadModel(path))
  const { name: provider } = await chooseProvider(flags.provider)
  const { data, seed, runs, seconds, memory, batch: batchSize } = flags
  const positions = models.map(({ folder }) => readHostConfig(folder).positions ?? 512)
  const sequenceLength = flags['sequence-length'] ?? Math.min(512, ...positions)
  const choice = { 'sequence-length': sequenceLength, 'batch-size': batchSize, samples: batchSize }
  const at = (length: number): Promise<BenchResult> =>
    bench(models, {
      ...context,
      provider,
      batchSize,
      sequenceLength: length,
      runs,
      seconds,
      memory,
      seed,
      decodeTokens: flags['decode-tokens'],
      single: paths.some(isSingle),
      inputs:
        data === undefined ? undefined : (source) => chooseData(source, data, choice, context),
    })
  const isOpen = data === undefined && flags['sequence-length'] === undefined
  const found = await at(sequenceLength).catch(async (error: unknown) => {
    const length = isOpen && isOfSizes(error) ? await lengthFor(models, context) : undefined
    if (length === undefined) throw error
    context.log.info(`Inputs of length ${sequenceLength} don't fit the model: ${length} do.`)
    return await at(length)
  })
  for (const { path, notNumbers } of found.models)
    if (notNumbers.length > 0)
      context.log.warn(
        'NOT_A_NUMBER',
        `Of "${path}", ${notNumbers.map((name) => `output "${name}"`).join(' and ')} is NaN on these inputs: the times are of a model that says nothing.`,
      )
  return found
}

const isOfSizes = (error: unknown): boolean =>
  error instanceof AttncError && error.code === 'RUN_FAILED'

/** A length that the first model runs on: pictures and sounds are seldom of any size. */
async function lengthFor(
  [first]: readonly LoadedModel[],
  { signal }: CommandContext,
): Promise<number | undefined> {
  return first && (await findRandomLength(first, readModel(first.model.graph).vocabulary, signal))
}

export function describeBench(found: BenchResult): string[] {
  const shapes = Object.entries(found.shape).map(([name, dims]) => `${name} [${dims.join(', ')}]`)
  const { ratios, models } = found
  const row = (
    what: string,
    cell: (entry: BenchEntry) => string,
    ratio: Ratio | number | null | undefined,
  ): string[] => [what, ...models.map(cell), ...(ratios ? [describeRatio(ratio)] : [])]
  const head = ['', ...models.map((_, index) => 'AB'[index] ?? ''), ...(ratios ? ['B ÷ A'] : [])]
  return [
    ...models.map(({ path }, index) => `${'AB'[index]}: ${path}`),
    `${found.provider}, ${found.threads} threads, ${found.processor} · ${found.data} inputs: ${shapes.slice(0, 3).join(', ')}`,
    '',
    ...table(head, [
      row('prefill', ({ prefill }) => milliseconds(prefill), ratios?.prefill),
      row('prefill, tokens/s', (entry) => rate(entry.prefillTokensPerSecond), undefined),
      row('decode, a token', ({ decode }) => (decode ? milliseconds(decode) : '–'), ratios?.decode),
      row('decode, tokens/s', ({ decode }) => rate(decode?.tokensPerSecond ?? null), undefined),
      row(
        'peak memory',
        ({ memory }) => (memory ? describeBytes(memory.peakBytes) : '–'),
        ratios?.peakMemory,
      ),
      row('weights', ({ bytes }) => describeBytes(bytes), ratios?.bytes),
      row('parameters', ({ parameters }) => describeCount(parameters), ratios?.parameters),
    ]),
    '',
    `Medians (quartiles) of ${models[0]?.prefill.runs ?? 0} turns${ratios ? '; ratios are medians of pairs (95 % interval)' : ''}.`,
  ]
}

const milliseconds = ({ median, firstQuartile, thirdQuartile }: Spread): string =>
  `${median.toPrecision(3)} ms (${firstQuartile.toPrecision(3)}–${thirdQuartile.toPrecision(3)})`

const rate = (perSecond: number | null): string =>
  perSecond === null ? '–' : describeCount(perSecond)

function describeRatio(ratio: Ratio | number | null | undefined): string {
  if (ratio === null || ratio === undefined) return ''
  if (typeof ratio === 'number') return ratio.toFixed(3)
  return `${ratio.ratio.toFixed(3)} (${ratio.low.toFixed(3)}–${ratio.high.toFixed(3)})`
}
