/**
 * One pass over the data that serves every statistic: the graph is extended on a copy, run batch by
 * batch, and only what was reduced comes back.
 */
import { leavesOf } from '../axes/axis.js'
import { edit } from '../graph/edit.js'
import { extractSubgraph } from '../graph/extract.js'
import type { Model, Node, Value } from '../graph/graph.js'
import type { Log } from '../log.js'
import { joinOf } from '../model/feed-forward.js'
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

/** The values that projections back to the stream read. */
export function projectionInputs(view: TransformerModel, moments: boolean): Watch[] {
  const watches: Watch[] = []
  const add = (key: string, value: Value | undefined, join: Node | undefined): void => {
    const size = value && view.analysis.axes(value)?.at(-1)?.size.value
    if (!value || !size || watches.some((watch) => watch.key === key)) return
    const stream = join?.outputs.find((output) => output && isSameRows(view, output, value))
    watches.push({ key, value, size, isMasked: isTokenwise(view, value), moments, stream })
  }
  for (const [index, block] of view.attention.entries()) {
    const { outputProjection } = block
    const operand = outputProjection?.operands[0]
    const result = outputProjection?.node.outputs[0]
    const join = result && joinOf(view.analysis, result, block.context)
    add(`attention.${index}`, operand && outputProjection.node.inputs[operand.input], join)
  }
  for (const [index, block] of view.feedForward.entries())
    if (!block.mixture) add(`feedForward.${index}`, block.hidden, block.join)
  return watches
}

/** Whether two values differ in their last axis only. */
function isSameRows(view: TransformerModel, one: Value, other: Value): boolean {
  const [a, b] = [view.analysis.axes(one), view.analysis.axes(other)]
  if (!a || !b || a.length !== b.length) return false
  return a.slice(0, -1).every((axis, index) => axis.size.equals(b[index]?.size ?? axis.size))
}

/** Whether a value's leading axes are those of the integer input of tokens. */
function isTokenwise(view: TransformerModel, value: Value): boolean {
  const axes = view.analysis.axes(value)
  const tokens = view.graph.inputs.find(
    (input) => input.type?.dims?.length === 2 && input.type.dataType?.startsWith('int'),
  )
  const expected = tokens && view.analysis.axes(tokens)
  if (axes?.length !== 3 || !expected) return false
  return [0, 1].every((axis) => {
    const [own, other] = [axes[axis], expected[axis]]
    return own && other && leavesOf(own)[0] === leavesOf(other)[0]
  })
}

export async function calibrate(model: Model, options: CalibrationOptions): Promise<Calibration> {
  const { batches, log, signal } = options
  const source = readModel(model.graph)
  const originals = projectionInputs(source, options.moments)
  const copy = extractSubgraph(model.graph, new Map(), [
    ...new Set(originals.map(({ value }) => value)),
  ])
  const watches = originals.map((watch) => ({
    ...watch,
    value: copy.graph.values.get(watch.value.name) as Value,
    stream: watch.stream && copy.graph.values.get(watch.stream.name),
  }))
  const instruments = edit(copy.graph, 'attnc.calibrate', (change) => {
    for (const output of [...copy.graph.outputs]) change.hide(output)
    return instrument(change, source.analysis, watches, options.stride ?? 1)
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
