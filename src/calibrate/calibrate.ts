/**
 * One pass over the data that serves every statistic: the graph is extended on a copy, run batch by
 * batch, and only what was reduced comes back.
 */
import { assertBatchesFit } from '../bench/room.js'
import type { Batch } from '../data/batch.js'
import { edit } from '../graph/edit.js'
import { extractSubgraph } from '../graph/extract.js'
import type { Model, Value } from '../graph/graph.js'
import { findBlocks } from '../model/block.js'
import { readModel, type TransformerModel } from '../model/model.js'
import { type RunOptions, runBatches } from '../runtime/batches.js'
import { letGo } from '../runtime/let-go.js'
import { accumulate } from './accumulate.js'
import { instrument, instrumentFeeds, type Watch } from './instrument.js'
import {
  type Calibration,
  type CalibrationKey,
  type CalibrationState,
  digestBatches,
  finishState,
} from './state.js'
import { Sums } from './statistics.js'

/** Which data are watched, and how closely. */
export interface CalibrationOptions extends RunOptions {
  readonly batches: readonly Batch[]
  /** Second moments take every so many tokens; 1 takes all. Default 3 (docs/benchmarks/pruning.md). */
  readonly stride?: number | undefined
  readonly moments: boolean
}

export interface MeasureOptions extends CalibrationOptions {
  /** Digest of the model's files. */
  readonly digest?: string | undefined
  /** Batches of this part; all by default. */
  readonly shard?: Shard | undefined
  /** Goes on where this stopped. */
  readonly state?: CalibrationState | undefined
  /** What is watched; what the output projections read where nothing is said. */
  readonly watches?: readonly Watch[]
  /** Called after each batch; the state stays as it is until the promise is kept. */
  readonly onBatch?: (state: CalibrationState) => Promise<void>
}

/** Part `index` of `count`, from 1. */
export interface Shard {
  readonly index: number
  readonly count: number
}

/**
 * Odd, so that windows of 2ⁿ tokens aren't always sampled at the same places.
 */
const DEFAULT_STRIDE = 3

/** Slices take steps from opset 10 on: before it, no token is left out. */
const canSkip = ({ opsets }: Model): boolean => (opsets.get('') ?? 10) >= 10

/** What the output projections of all blocks read. */
export function projectionInputs(view: TransformerModel, moments: boolean): Watch[] {
  return findBlocks(view).map(({ key, input, width, turn, unfolded, tokens, stream, joined }) => {
    const size = joined && view.analysis.axes(joined)?.at(-1)?.size.value
    return {
      key,
      value: input,
      size: width,
      turn,
      unfolded,
      dataType: view.analysis.shapes.dataType(input) ?? 'float32',
      tokens,
      moments,
      stream:
        joined && size
          ? { value: stream ?? joined, size, isOwnRows: stream !== undefined }
          : undefined,
    }
  })
}

/** Errors: CALIBRATION_NOT_FINITE, TOO_LITTLE_MEMORY and those of running. */
export async function calibrate(model: Model, options: CalibrationOptions): Promise<Calibration> {
  return finishState(await measure(model, options))
}

/** What a calibration with these options is a calibration of. */
export const keyOf = (options: MeasureOptions): CalibrationKey => ({
  model: options.digest,
  data: digestBatches(options.batches),
  batches: options.batches.length,
  stride: options.stride ?? DEFAULT_STRIDE,
  moments: options.moments,
})

/** The sums of the batches of a shard; parts may be put together by `mergeStates`. */
export async function measure(model: Model, options: MeasureOptions): Promise<CalibrationState> {
  const { batches, shard, provider = 'cpu' } = options
  const watches = options.watches ?? projectionInputs(readModel(model.graph), options.moments)
  const state = options.state ?? {
    key: keyOf(options),
    done: new Set(),
    providers: new Set(),
    blocks: new Map(watches.map(({ key, size, moments }) => [key, Sums.empty(size, moments)])),
  }
  const stride = canSkip(model) ? state.key.stride : 1
  const indices = shardIndices(batches.length, shard).filter((index) => !state.done.has(index))
  if (indices.length === 0 || watches.length === 0) return state
  assertBatchesFit(model, batches, provider)
  const { copy, instruments } = addInstruments(model, watches, stride)
  const wanted = indices.map((index) => batches[index] as Batch)
  state.providers.add(provider)
  await runBatches(
    copy,
    wanted,
    options,
    'calibrating',
    (results, batch, at) => {
      for (const each of instruments)
        accumulate(state.blocks.get(each.watch.key) as Sums, each, results, batch, stride)
      letGo(Object.values(results))
      state.done.add(indices[at] as number)
      return options.onBatch?.(state)
    },
    (batch) => instrumentFeeds(instruments, batch, stride),
  )
  return state
}

/** Batches i, i + n, i + 2n …: shards are of equal work even where data is sorted by length. */
function shardIndices(count: number, shard: Shard = { index: 1, count: 1 }): number[] {
  const all = Array.from({ length: count }, (_, index) => index)
  return all.filter((index) => index % shard.count === shard.index - 1)
}

function addInstruments(model: Model, originals: readonly Watch[], stride: number) {
  const copy = extractSubgraph(model.graph, new Map(), [
    ...new Set(
      originals.flatMap(({ value, stream }) => (stream ? [value, stream.value] : [value])),
    ),
  ])
  const own = (value: Value): Value => copy.graph.values.get(value.name) as Value
  const watches = originals.map((watch) => ({
    ...watch,
    value: own(watch.value),
    stream: watch.stream && { ...watch.stream, value: own(watch.stream.value) },
  }))
  const instruments = edit(copy.graph, 'attnc.calibrate', (change) => {
    for (const output of [...copy.graph.outputs]) change.hide(output)
    return instrument(change, watches, stride)
  })
  return { copy, instruments }
}
