/**
 * One pass over the data that serves every statistic: the graph is extended on a copy, run batch by
 * batch, and only what was reduced comes back.
 */

import type { Batch } from '../data/batch.js'
import { edit } from '../graph/edit.js'
import { extractSubgraph } from '../graph/extract.js'
import type { Model, Value } from '../graph/graph.js'
import { findBlocks } from '../model/block.js'
import { readModel, type TransformerModel } from '../model/model.js'
import { type RunOptions, runBatches } from '../runtime/batches.js'
import {
  accumulate,
  emptyStatistics,
  instrument,
  type Statistics,
  type Watch,
} from './statistics.js'

export interface CalibrationOptions extends RunOptions {
  readonly batches: readonly Batch[]
  /** Second moments take every so many tokens; 1 takes all. */
  readonly stride?: number
  readonly moments: boolean
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
  const { batches } = options
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
  const statistics = new Map(watches.map((watch) => [watch.key, emptyStatistics(watch)]))
  await runBatches(copy, batches, options, 'calibrating', (results, batch) => {
    const lengths = batch.ids.length > 0 ? batch.ids.map((row) => row.length) : [1]
    for (const { watch, outputs } of instruments)
      accumulate(statistics.get(watch.key) as Statistics, results, outputs, lengths)
  })
  return statistics
}
