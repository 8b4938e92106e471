/** Data as the flags ask for it, with defaults that fit the model. */

import { existsSync, readFileSync } from 'node:fs'
import { extname, join } from 'node:path'
import type { Batch } from '../data/batch.js'
import { openData, portsOf } from '../data/open-data.js'
import { findRandomLength } from '../data/random-length.js'
import { countTokens, isSameTexts } from '../data/same-texts.js'
import type { TextMode } from '../data/text.js'
import { AttncError } from '../errors.js'
import { recite } from '../generate/recite.js'
import type { Log } from '../log.js'
import { readModel } from '../model/model.js'
import type { LoadedModel } from '../model-folder/load.js'
import { parsePythonJson } from '../model-folder/python-json.js'
import { chooseProvider, type ProviderName } from '../runtime/provider.js'

export interface DataContext {
  readonly log: Log
  readonly signal?: AbortSignal | undefined
}

export interface DataChoice {
  readonly samples?: number | undefined
  readonly tokens?: number | undefined
  readonly 'sequence-length'?: number | undefined
  readonly 'text-mode'?: TextMode | undefined
  readonly 'start-token'?: number | undefined
  readonly 'batch-size'?: number | undefined
  readonly seed?: number | undefined
  readonly provider?: 'auto' | ProviderName | undefined
}

/** Tokens that run together: enough for full speed on a CPU, and Ctrl-C is answered between runs. */
const batchTokens = 2048
/** Windows beyond this hardly change what calibration measures. */
const calibrationSamples = { text: 64, arrays: 512 }

/** Batches of `path` for `source`. Errors: those of `openData`. */
export async function chooseData(
  source: LoadedModel,
  path: string,
  choice: DataChoice,
  { log, signal }: DataContext,
): Promise<Batch[]> {
  if (path === 'self')
    throw new AttncError(
      'SELF_DATA',
      'usage',
      'Text that the model makes up can be calibrated on, nothing else.',
      { suggestions: ['Give a file: .txt, .jsonl, .npz.'] },
    )
  const { vocabulary } = readModel(source.model.graph)
  let sequenceLength = windowLength(source, choice)
  if (path === 'random') {
    log.warn('RANDOM_DATA', 'The inputs are drawn by chance: they say nothing about quality.')
    sequenceLength =
      choice['sequence-length'] ?? (await findRandomLength(source, vocabulary, signal)) ?? 128
  }
  const start = choice['start-token'] ?? readConfig(source.folder)['bos_token_id']
  const mode = choice['text-mode'] ?? (isLanguageModel(source, vocabulary) ? 'stream' : 'sentences')
  return openData(path, {
    model: source.model,
    folder: source.folder,
    vocabulary,
    sequenceLength,
    batchSize:
      choice['batch-size'] ??
      (mode === 'sentences' || !isText(path)
        ? 32
        : Math.max(1, Math.floor(batchTokens / sequenceLength))),
    samples: choice.samples,
    tokens: choice.tokens,
    textMode: mode,
    startToken: isCount(start) ? start : undefined,
    seed: choice.seed,
  })
}

/**
 * The same data for another model, which may number tokens otherwise or lack some; undefined where one tokenizer
 * serves both. `batches` are what `source` reads.
 */
export async function chooseDataOfOther(
  other: LoadedModel,
  { source, batches }: { readonly source: LoadedModel; readonly batches: readonly Batch[] },
  path: string,
  choice: DataChoice,
  context: DataContext,
): Promise<Batch[] | undefined> {
  const [one, its] = [tokenizerOf(source), tokenizerOf(other)]
  if (one === undefined || its === undefined || one.equals(its)) return undefined
  const read = await chooseData(other, path, choice, context)
  if (!isSameTexts(batches, read))
    context.log.warn(
      'TOKENIZERS_DIFFER',
      `"${source.folder}" reads the data as ${countTokens(batches)} tokens and "${other.folder}" as ${countTokens(read)}: perplexity is by token, each of its own.`,
    )
  return read
}

function tokenizerOf({ folder }: LoadedModel): Buffer | undefined {
  const path = join(folder, 'tokenizer.json')
  return existsSync(path) ? readFileSync(path) : undefined
}

/** Text that the model makes up itself, where the user has none. */
async function recited(
  source: LoadedModel,
  choice: DataChoice,
  context: DataContext,
): Promise<Batch[]> {
  const length = windowLength(source, choice)
  const { name: provider } = await chooseProvider(choice.provider ?? 'auto')
  return recite({
    ...context,
    source,
    provider,
    length,
    windows:
      choice.samples ?? Math.ceil((choice.tokens ?? calibrationSamples.text * length) / length),
    batchSize: choice['batch-size'] ?? Math.max(1, Math.floor(batchTokens / length)),
    vocabulary: readModel(source.model.graph).vocabulary,
    seed: choice.seed ?? 0,
  })
}

/** As much as calibration needs, where the user doesn't say how much. */
export async function chooseCalibration(
  source: LoadedModel,
  path: string,
  choice: DataChoice,
  context: DataContext,
): Promise<Batch[]> {
  if (path === 'self') return recited(source, choice, context)
  const { text, arrays } = calibrationSamples
  const isOpen = choice.samples === undefined && choice.tokens === undefined
  const most = isText(path) && choice['text-mode'] !== 'sentences' ? text : arrays
  return chooseData(source, path, isOpen ? { ...choice, samples: most } : choice, context)
}

/** Tokens of a window: what the model can take, where the user doesn't say. */
function windowLength({ folder }: LoadedModel, choice: DataChoice): number {
  const config = readConfig(folder)
  const positions = [config['max_position_embeddings'], config['n_positions']].find(isCount)
  return choice['sequence-length'] ?? Math.min(512, positions ?? 512)
}

export const countSamples = (batches: readonly Batch[]): number =>
  batches.reduce((sum, { feeds }) => sum + (Object.values(feeds)[0]?.dims[0] ?? 0), 0)

const isText = (path: string): boolean =>
  ['.txt', '.md', '.jsonl'].includes(extname(path).toLowerCase())

/** Whether an output has an axis of the vocabulary beside batch and sequence. */
function isLanguageModel(source: LoadedModel, vocabulary: number | undefined): boolean {
  const takesText = portsOf(source.model).some(({ dims }) => dims.length === 2)
  return source.model.graph.outputs.some(({ type }) => {
    const last = type?.dims?.at(-1)
    return (
      takesText &&
      type?.dims?.length === 3 &&
      (typeof last !== 'number' || vocabulary === undefined || last >= vocabulary)
    )
  })
}

const isCount = (value: unknown): value is number => Number.isInteger(value) && Number(value) >= 0

function readConfig(folder: string): Readonly<Record<string, unknown>> {
  const path = join(folder, 'config.json')
  if (!existsSync(path)) return {}
  try {
    const config = parsePythonJson(readFileSync(path, 'utf8'))
    return typeof config === 'object' && config !== null ? (config as Record<string, unknown>) : {}
  } catch {
    // A damaged config is named when it would be written; defaults do for reading.
    return {}
  }
}
