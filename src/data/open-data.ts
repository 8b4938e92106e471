/** Data by its path: what the file is decides how it is read. */

import { existsSync, readdirSync, statSync } from 'node:fs'
import { extname, join } from 'node:path'
import { AttncError } from '../errors.js'
import type { Model } from '../graph/graph.js'
import { findCacheBranch } from '../model/cache-branch.js'
import { numbersOf } from '../onnx/numbers.js'
import type { Port } from '../runtime/session.js'
import { areGraphs, findAddressedRows } from './addressed-rows.js'
import { type Batch, leadingPort } from './batch.js'
import { findChannels } from './channels.js'
import { readJsonLines } from './json-lines.js'
import { isKeepMask } from './keep-mask.js'
import { readArrays } from './npz.js'
import { mostRows, randomBatches } from './random.js'
import { findRowsOfSamples } from './rows-of-sample.js'
import { sliceArrays } from './slice-arrays.js'
import { tableRows } from './table-rows.js'
import { readTestDataSet } from './test-data-set.js'
import { readText, type TextMode } from './text.js'
import { loadTokenizer } from './tokenizer.js'

/** Which model data are read for, and how much of them. */
export interface DataOptions {
  readonly model: Model
  /** Where `tokenizer.json` is. */
  readonly folder: string
  readonly vocabulary?: number | undefined
  /** Tokens of a window; a fixed length of the model wins. Default 512. */
  readonly sequenceLength?: number | undefined
  /** Default 8. */
  readonly batchSize?: number | undefined
  /** Samples (windows, sentences, rows) at most. */
  readonly samples?: number | undefined
  /** Tokens of a stream at most. */
  readonly tokens?: number | undefined
  readonly textMode?: TextMode | undefined
  /** Id before every paragraph, with `textMode` paragraphs. */
  readonly startToken?: number | undefined
  readonly seed?: number | undefined
}

/** Inputs of more numbers are damage: nothing could fill them. */
const MOST_NUMBERS = 2 ** 28

/** What a session would say of the graph's inputs; those with a default are left out. Error: INPUT_TOO_LARGE. */
export function portsOf({ graph }: Model): Port[] {
  const numbered = findAddressedRows(graph)
  const several = findRowsOfSamples(graph)
  const choice = findCacheBranch(graph)?.choice
  return graph.inputs
    .filter((value) => !value.constant)
    .map((input) => {
      const { name, type } = input
      assertFillable(name, type?.dims)
      const rows = numbered.get(name)
      const choices = tableRows(input)
      const perSample = several.get(name)
      return {
        name,
        dataType: type?.dataType ?? 'float32',
        dims: (type?.dims ?? []).map((dim, axis) =>
          typeof dim === 'number'
            ? dim
            : ((axis === 1 ? findChannels(input) : undefined) ?? String(dim ?? '')),
        ),
        ...(rows === undefined ? {} : { rows }),
        ...(choices === undefined ? {} : { choices }),
        ...(choice?.input === input && { atStart: choice.atStart }),
        ...(isKeepMask(input) && { isMask: true }),
        ...(perSample !== undefined && { perSample }),
      }
    })
}

function assertFillable(name: string, dims: readonly unknown[] = []): void {
  const stated = dims.filter((dim) => typeof dim === 'number').filter((dim) => dim > 0)
  if (stated.reduce((count, dim) => count * dim, 1) <= MOST_NUMBERS) return
  throw new AttncError(
    'INPUT_TOO_LARGE',
    'model',
    `Input "${name}" is declared as [${dims.map((dim) => dim ?? '?')}], which is more than can be fed.`,
    { suggestions: ['The file may be damaged: copy or export the model again.'] },
  )
}

/**
 * Batches of `path`: .txt and .md by the folder's tokenizer, .jsonl, .npz, .npy, a test data set, or
 * `random` for seeded inputs. Errors: DATA_MISSING, DATA_TOO_SMALL, DATA_HIDDEN, DATA_FORMAT, TEST_DATA_INCOMPLETE and those of
 * each reader.
 */
export function openData(path: string, options: DataOptions): Batch[] {
  const inputs = portsOf(options.model)
  const stated = statedSizes(inputs)
  const batches = seenBatches(path, readBatches(path, options, inputs, stated))
  return stated.batch === undefined ? batches : wholeBatches(batches, inputs)
}

/** What a mask hides whole says nothing: such batches are left out. Error: DATA_HIDDEN where that is all. */
function seenBatches(path: string, batches: readonly Batch[]): Batch[] {
  const seen = batches.filter(({ tokenMask }) => !tokenMask || numbersOf(tokenMask).some(Boolean))
  if (seen.length === 0 && batches.length > 0)
    throw new AttncError(
      'DATA_HIDDEN',
      'usage',
      `The mask of "${path}" hides every token: all its numbers are 0, which stands for padding.`,
      { suggestions: ['Put ones where tokens are, or leave the mask out of the data.'] },
    )
  return seen
}

/** A model of a fixed batch takes no fewer samples: what is left over of them is left out. Error: DATA_TOO_SMALL. */
function wholeBatches(batches: readonly Batch[], inputs: readonly Port[]): Batch[] {
  const first = leadingPort(inputs)
  const rowsIn = ({ feeds }: Batch): number | undefined => feeds[first?.name ?? '']?.dims[0]
  const whole = batches.filter((batch) => rowsIn(batch) === first?.dims[0])
  if (whole.length === 0 && batches[0])
    throw new AttncError(
      'DATA_TOO_SMALL',
      'usage',
      `The model takes ${first?.dims[0]} samples at once, and the data has ${rowsIn(batches[0])}.`,
      { suggestions: ['Give more data, a smaller --sequence-length, or no --samples.'] },
    )
  return whole.map((batch) => ({ ...batch, isWhole: true }))
}

function readBatches(
  path: string,
  options: DataOptions,
  inputs: readonly Port[],
  stated: ReturnType<typeof statedSizes>,
): Batch[] {
  const length = stated.length ?? options.sequenceLength
  const sequenceLength = length ?? 512
  const batchSize = stated.batch ?? options.batchSize ?? 8
  // A model of a fixed batch takes no fewer.
  const samples =
    options.samples === undefined ? undefined : Math.max(options.samples, stated.batch ?? 0)
  const { vocabulary, folder } = options
  if (path === 'random') {
    const drawn = length ?? 128
    return randomBatches({
      inputs,
      sequenceLength: drawn,
      batchSize: Math.min(batchSize, mostRows(inputs, drawn)),
      samples: samples ?? 32,
      vocabulary,
      seed: options.seed ?? 0,
    })
  }
  if (!existsSync(path))
    throw new AttncError('DATA_MISSING', 'usage', `There is no data at "${path}".`, {
      suggestions: ['Give a .txt, .jsonl, .npz or .npy file, or a test_data_set folder.'],
    })
  if (statSync(path).isDirectory()) return readFolder(path, inputs)
  switch (extname(path).toLowerCase()) {
    case '.txt':
    case '.md':
      return readText(path, {
        ...options,
        inputs,
        sequenceLength,
        batchSize,
        mode: options.textMode ?? 'stream',
        tokenizer: loadTokenizer(folder),
      })
    case '.jsonl':
      return readJsonLines(path, {
        inputs,
        sequenceLength,
        batchSize,
        samples,
        vocabulary,
        tokenizer: () => loadTokenizer(folder),
      })
    case '.npz':
    case '.npy':
      return sliceArrays(readArrays(path), inputs, { what: path, batchSize, samples })
    default:
      throw new AttncError(
        'DATA_FORMAT',
        'usage',
        `"${path}" is of a kind that is not read; .txt, .md, .jsonl, .npz, .npy and test_data_set folders are.`,
        { suggestions: ['Convert it, for instance with numpy.savez.'] },
      )
  }
}

/** Sizes that the model leaves no choice of. */
function statedSizes(inputs: readonly Port[]): { batch?: number; length?: number } {
  const batch = leadingPort(inputs)?.dims[0]
  const length = inputs.find(({ dims }) => dims.length === 2)?.dims[1]
  return {
    ...(typeof batch === 'number' && { batch }),
    // Features of nodes are no length.
    ...(typeof length === 'number' && !areGraphs(inputs) && { length }),
  }
}

/** A test data set, or a folder of them. Error: TEST_DATA_INCOMPLETE. */
function readFolder(path: string, inputs: readonly Port[]): Batch[] {
  if (existsSync(join(path, 'input_0.pb'))) return readTestDataSet(path, inputs)
  const sets = readdirSync(path).filter((name) => /^test_data_set_\d+$/.test(name))
  if (sets.length === 0)
    throw new AttncError(
      'TEST_DATA_INCOMPLETE',
      'usage',
      `The folder "${path}" has neither input_0.pb nor a folder test_data_set_0.`,
      { suggestions: ['Give a test_data_set folder, or a file: .txt, .jsonl, .npz.'] },
    )
  return sets.sort().flatMap((name) => readTestDataSet(join(path, name), inputs))
}
