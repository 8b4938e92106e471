/**
 * One pass over the data that serves every statistic: the graph is extended on a copy, run batch by
 * batch, and only what was reduced comes back.
 */
import { edit } from '../graph/edit.js'
import { extractSubgraph } from '../graph/extract.js'
import type { Model, Value } from '../graph/graph.js'
import type { Log } from '../log.js'
import { findBlocks } from '../model/block.js'
import { readModel, type TransformerModel } from '../model/model.js'
import { materialise } from '../runtime/materialise.js'
import type { ProviderName } from '../runtime/provider.js'
import { openSession } from '../runtime/session.js'
import type { Batch } from './dataset.js'
import {
  accumulate,
  emptyStatistics,
  instrument,
  type Statistics,
  TOKEN_MASK,
  type Watch,
} from './statistics.js'

export interface CalibrationOptions {
  readonly batches: readonly Batch[]
  readonly provider?: ProviderName
  readonly threads?: number | undefined
  /** Second moments take every so many tokens; 1 takes all. */
  readonly stride?: number
  readonly moments: boolean
  readonly log: Log
  readonly signal?: AbortSignal | undefined
}

/** Statistics of what every output projection reads, by `attention.3` and `feedForward.3`. */
export type Calibration = ReadonlyMap<string, Statistics>

/** What the output projections of all blocks read. */
export function projectionInputs(view: TransformerModel, moments: boolean): Watch[] {
  return findBlocks(view).map(({ key, input, width, isTokenwise, stream }) => ({
    key,
    value: input,
    size: width,
    dataType: view.analysis.shapes.dataType(input) ?? 'float32',
    isMasked: isTokenwise,
    moments,
    stream,
  }))
}

export async function calibrate(model: Model, options: CalibrationOptions): Promise<Calibration> {
  const { batches, log, signal } = options
  const source = readModel(model.graph)
  const originals = projectionInputs(source, options.moments)
  const copy = extractSubgraph(model.graph, new Map(), [
    ...new Set(originals.flatMap(({ value, stream }) => (stream ? [value, stream] : [value]))),
  ])
  const watches = originals.map((watch) => ({
    ...watch,
    value: copy.graph.values.get(watch.value.name) as Value,
    stream: watch.stream && copy.graph.values.get(watch.stream.name),
  }))
  const instruments = edit(copy.graph, 'attnc.calibrate', (change) => {
    for (const output of [...copy.graph.outputs]) change.hide(output)
    return instrument(change, watches, options.stride ?? 1)
  })
  const file = materialise(copy)
  try {
    await using session = await openSession({
      path: file.path,
      provider: options.provider ?? 'cpu',
      threads: options.threads,
      signal,
    })
    const names = new Set(session.inputs.map(({ name }) => name))
    const statistics = new Map(watches.map((watch) => [watch.key, emptyStatistics(watch)]))
    for (const [index, batch] of batches.entries()) {
      signal?.throwIfAborted()
      const all = batch.tokenMask ? { ...batch.feeds, [TOKEN_MASK]: batch.tokenMask } : batch.feeds
      const feeds = Object.fromEntries(Object.entries(all).filter(([name]) => names.has(name)))
      const results = await session.run(feeds)
      const lengths = batch.ids.map((row) => row.length)
      for (const { watch, outputs } of instruments)
        accumulate(
          statistics.get(watch.key) as Statistics,
          results,
          outputs,
          lengths.length > 0 ? lengths : [1],
        )
      log.progress('calibrating', index + 1, batches.length)
    }
    return statistics
  } finally {
    file.dispose()
  }
}
