/**
 * How fast one model is, or two on the same machine at the same time: reading a prompt (prefill), saying
 * tokens with the cache (decode), memory, size. Times are those inside ONNX Runtime; copying inputs in
 * and results out is not counted. Two models run in turns and are compared pair by pair.
 */
import { availableParallelism, cpus } from 'node:os'
import { checkSameInputs } from '../compare/same-inputs.js'
import type { Batch } from '../data/batch.js'
import { portsOf } from '../data/open-data.js'
import { randomBatches } from '../data/random.js'
import { AttncError } from '../errors.js'
import { countBytes } from '../inspect/inspect.js'
import { countParameters } from '../inspect/parameters.js'
import { readModel } from '../model/model.js'
import type { LoadedModel } from '../model-folder/load.js'
import type { RunOptions } from '../runtime/batches.js'
import type { ProviderName } from '../runtime/provider.js'
import { benchDecode, type DecodeOptions, type DecodeTimes } from './decode.js'
import type { Pace } from './interleave.js'
import { type Memory, measureMemory } from './memory.js'
import { benchPrefill } from './prefill.js'
import { assertRoom, explainShortage, type Inputs } from './room.js'
import { pairedRatio, type Ratio, type Spread, spreadOf } from './statistics.js'

/** On which inputs models are timed, how often and for how long. */
export interface BenchOptions extends RunOptions {
  /** Default 1. */
  readonly batchSize?: number | undefined
  /** Tokens of a prompt. Default 512, or what the model can take. */
  readonly sequenceLength?: number | undefined
  /** Turns at most. Default 30. */
  readonly runs?: number | undefined
  /** Per kind of measurement. Default 20. */
  readonly seconds?: number | undefined
  /** Runs before the first that counts. Default 3. */
  readonly warmUp?: number | undefined
  readonly seed?: number | undefined
  /** Inputs of a model; seeded random ones are made where this is absent. The first batch is used. */
  readonly inputs?: ((source: LoadedModel) => Promise<readonly Batch[]>) | undefined
  /** Tokens said in one turn of decoding. Default 16; 0 leaves decoding out. */
  readonly decodeTokens?: number | undefined
  /** Off: no process is started to measure memory. Default on. */
  readonly memory?: boolean | undefined
  /** Only the files that were named, though their folders have ones with a cache. */
  readonly single?: boolean | undefined
}

/** What one model took. */
export interface BenchEntry {
  readonly path: string
  readonly parameters: number
  /** Of weights. */
  readonly bytes: number
  readonly openMs: number
  /** Outputs that are NaN on these inputs: times of such a run may say nothing. */
  readonly notNumbers: readonly string[]
  /** Milliseconds of one run on `shape`. */
  readonly prefill: Spread
  /** Tokens read a second; null where inputs are not tokens. */
  readonly prefillTokensPerSecond: number | null
  /** Milliseconds a token with the cache; null where no model of the folder has one. */
  readonly decode: (Spread & { readonly tokensPerSecond: number; readonly file: string }) | null
  readonly memory: Memory | null
}

/** One or two models, timed in turns: what `attnc bench --json` prints. */
export interface BenchResult {
  readonly format: 1
  readonly provider: ProviderName
  readonly threads: number
  readonly processor: string
  readonly shape: Readonly<Record<string, readonly number[]>>
  readonly data: 'random' | 'given'
  readonly models: readonly BenchEntry[]
  /** Second ÷ first, where two were given. */
  readonly ratios: {
    readonly prefill: Ratio
    /** Of what all threads together took from the processor; null where the work is done elsewhere. */
    readonly processorTime: Ratio | null
    readonly decode: Ratio | null
    readonly peakMemory: number | null
    readonly bytes: number
    readonly parameters: number
  } | null
}

/** Errors: INPUTS_DIFFER, TOO_LITTLE_MEMORY, MEMORY_UNKNOWN, DECODE_SHORT; of data and sessions. */
export async function bench(
  models: readonly LoadedModel[],
  options: BenchOptions,
): Promise<BenchResult> {
  const [first, second] = models
  if (first && second) checkSameInputs(first.model, second.model)
  const { provider = 'cpu', threads, seed = 0, signal } = options
  const pace: Pace = {
    runs: options.runs ?? 30,
    seconds: options.seconds ?? 20,
    warmUp: options.warmUp ?? 3,
    signal,
  }
  const views = models.map(({ model }) => readModel(model.graph))
  const vocabulary = Math.min(...views.map((view) => view.vocabulary ?? Number.POSITIVE_INFINITY))
  const inputs = randomInputs(models, vocabulary, options)
  if (inputs) assertRoom(inputs)
  const batches = await Promise.all(models.map((source) => inputsOf(source, vocabulary, options)))
  const prefill = await benchPrefill(models, batches, options, pace).catch((error: unknown) => {
    throw inputs ? explainShortage(error, inputs) : error
  })
  const decoding = benchDecode(models, decodeOptions(batches[0], vocabulary, options, pace))
  const decode = await decoding.catch((error: unknown) => {
    // The prompt is measured, and no token can be chosen among scores that are no numbers.
    if (!(error instanceof AttncError) || error.code !== 'NOT_A_NUMBER') throw error
    options.log.warn(error.code, `${error.message} Decoding is not measured.`)
    return models.map(() => undefined)
  })
  const memory = await benchMemory(models, batches, options)
  const entries = models.map(
    (source, index): BenchEntry => ({
      path: source.path,
      parameters: countParameters((views[index] as (typeof views)[number]).analysis),
      bytes: countBytes(source.model),
      openMs: prefill.openMs[index] ?? 0,
      notNumbers: prefill.notNumbers[index] ?? [],
      ...describeTimes(prefill.times[index] ?? [], decode[index], batches[index]),
      memory: memory[index] ?? null,
    }),
  )
  return {
    format: 1,
    provider,
    threads: threads ?? availableParallelism(),
    processor: cpus()[0]?.model ?? 'unknown',
    shape: Object.fromEntries(
      Object.entries(batches[0]?.feeds ?? {}).map(([name, { dims }]) => [name, dims]),
    ),
    data: options.inputs ? 'given' : 'random',
    models: entries,
    ratios: ratiosOf(entries, prefill, decode, { provider, seed }),
  }
}

async function benchMemory(
  models: readonly LoadedModel[],
  batches: readonly Batch[],
  { memory, provider = 'cpu', threads, signal, log }: BenchOptions,
): Promise<(Memory | null)[]> {
  if (memory === false) return models.map(() => null)
  const measured: Memory[] = []
  for (const [index, { path }] of models.entries()) {
    log.progress('measuring memory', index, models.length)
    const feeds = batches[index]?.feeds ?? {}
    measured.push(await measureMemory({ path, provider, threads, feeds }, signal))
  }
  log.progress('measuring memory', 1, 1)
  return measured
}

function describeTimes(
  times: readonly number[],
  decode: DecodeTimes | undefined,
  batch: Batch | undefined,
): Pick<BenchEntry, 'prefill' | 'prefillTokensPerSecond' | 'decode'> {
  const prefill = spreadOf(times)
  const tokens = batch?.ids.reduce((sum, row) => sum + row.length, 0) ?? 0
  const decoded = decode && spreadOf(decode.times)
  return {
    prefill,
    prefillTokensPerSecond: tokens > 0 ? (1000 * tokens) / prefill.median : null,
    decode: decoded
      ? { ...decoded, tokensPerSecond: 1000 / decoded.median, file: decode.file }
      : null,
  }
}

/** Second ÷ first. */
function ratiosOf(
  [one, other]: readonly BenchEntry[],
  { times, processor }: Awaited<ReturnType<typeof benchPrefill>>,
  [first, second]: Awaited<ReturnType<typeof benchDecode>>,
  { provider, seed }: { readonly provider: ProviderName; readonly seed: number },
): BenchResult['ratios'] {
  if (!one || !other) return null
  const ratioOf = ([a = [], b = []]: readonly (readonly number[])[]): Ratio =>
    pairedRatio(a, b, seed)
  return {
    prefill: ratioOf(times),
    processorTime: provider === 'cpu' ? ratioOf(processor) : null,
    decode: first && second ? ratioOf([first.times, second.times]) : null,
    peakMemory: one.memory && other.memory ? other.memory.peakBytes / one.memory.peakBytes : null,
    bytes: other.bytes / one.bytes,
    parameters: other.parameters / one.parameters,
  }
}

/** The batch that is run: given, or seeded random inputs of the shape. */
export async function inputsOf(
  source: LoadedModel,
  vocabulary: number,
  options: BenchOptions,
): Promise<Batch> {
  const given = await options.inputs?.(source)
  return given ? (given[0] as Batch) : drawInputs(source, vocabulary, options)
}

const lengthOf = ({ sequenceLength = 512 }: BenchOptions): number => sequenceLength

function drawInputs(source: LoadedModel, vocabulary: number, options: BenchOptions): Batch {
  const { batchSize = 1, seed = 0 } = options
  const [drawn] = randomBatches({
    inputs: portsOf(source.model),
    sequenceLength: lengthOf(options),
    batchSize,
    samples: batchSize,
    vocabulary: Number.isFinite(vocabulary) ? vocabulary : undefined,
    seed,
  })
  return drawn as Batch
}

/** What is drawn at any length; undefined where inputs are given. */
function randomInputs(
  models: readonly LoadedModel[],
  vocabulary: number,
  options: BenchOptions,
): Inputs | undefined {
  if (options.inputs) return undefined
  return {
    graphs: models.map(({ model }) => model.graph),
    provider: options.provider ?? 'cpu',
    length: lengthOf(options),
    batchesAt: (sequenceLength) =>
      models.map((source) => drawInputs(source, vocabulary, { ...options, sequenceLength })),
  }
}

function decodeOptions(
  batch: Batch | undefined,
  vocabulary: number,
  options: BenchOptions,
  pace: Pace,
): DecodeOptions {
  return {
    ...options,
    pace,
    tokens: options.decodeTokens ?? 16,
    prompt: (batch?.ids[0] ?? []).map((id) => Math.min(id, vocabulary - 1)),
  }
}
