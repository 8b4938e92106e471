/** What a language model is fed in one step: tokens, and what has to be said of them and of those before. */
import { ones, type RuntimeTensor, tensorOf, zeros } from '../onnx/numbers.js'
import { elementCount } from '../onnx/tensor.js'
import type { Feeds, Port } from '../runtime/session.js'
import type { Counter, LanguagePorts } from './language-ports.js'

/** The ids of each row after `past` tokens that are in the cache; `encoded` is what an encoder reads. */
export function stepFeeds(
  ports: LanguagePorts,
  rows: readonly (readonly number[])[],
  past: number,
  encoded: readonly number[] = [],
): Feeds {
  const feeds: Record<string, RuntimeTensor> = {}
  const [ids = []] = rows
  const total = past + ids.length
  const count = (to: number, from = 0): number[] =>
    Array.from({ length: to - from }, (_, i) => from + i)
  const fill = (port: Port, values: readonly number[]): void => {
    feeds[port.name] = fillRows(port, [values], rows.length)
  }
  feeds[ports.ids.name] = fillRows(ports.ids, rows, rows.length)
  if (ports.encoderIds) fill(ports.encoderIds, encoded)
  for (const port of ports.masks)
    feeds[port.name] = maskOf(port, rows.length, maskLength(ports, port, ids, past, encoded))
  for (const port of ports.positions) fill(port, count(total, past))
  for (const port of ports.segments)
    fill(
      port,
      ids.map(() => 0),
    )
  const says: Readonly<Record<Counter, number>> = { past, total, last: total - 1 }
  for (const { port, says: what } of ports.counters) {
    const dims = sizes(port, rows.length)
    const each = Array.from({ length: elementCount(dims) }, () => says[what])
    feeds[port.name] = tensorOf(port.dataType, dims, each)
  }
  for (const port of ports.switches)
    feeds[port.name] = tensorOf('bool', sizes(port, 1), [
      past > 0 ? 1 - (port.atStart ?? 0) : (port.atStart ?? 0),
    ])
  return feeds
}

/** Caches that hold nothing yet. */
export const emptyCaches = (ports: LanguagePorts, rows: number): Feeds =>
  Object.fromEntries(
    ports.states.map((port) => [port.name, zeros(port.dataType, cacheSizes(ports, port, rows, 0))]),
  )

const sizes = ({ dims }: Port, unknown: number): number[] =>
  dims.map((dim) => (typeof dim === 'number' ? dim : unknown))

/** Rows along the last axis, cut or padded with zeros to a fixed length, repeated over the others. */
function fillRows(
  port: Port,
  values: readonly (readonly number[])[],
  batch: number,
): RuntimeTensor {
  const last = port.dims.at(-1)
  const length = typeof last === 'number' ? last : (values[0]?.length ?? 0)
  const dims = [...sizes(port, batch).slice(0, -1), length]
  const repeats = elementCount(dims) / Math.max(length, 1)
  const row = (index: number): number[] =>
    Array.from({ length }, (_, i) => values[index % values.length]?.[i] ?? 0)
  return tensorOf(port.dataType, dims, Array.from({ length: repeats }, (_, i) => row(i)).flat())
}

/** [rows, length] of ones, padded with zeros to a fixed length. */
function maskOf(port: Port, rows: number, length: number): RuntimeTensor {
  const last = port.dims.at(-1)
  const dims = [...sizes(port, rows).slice(0, -1), typeof last === 'number' ? last : length]
  if (dims.at(-1) === length) return ones(port.dataType, dims)
  const mask = zeros(port.dataType, dims)
  const [seen, room] = [Math.min(length, dims.at(-1) ?? 0), dims.at(-1) ?? 1]
  const { data } = ones(port.dataType, [seen])
  // Many rows, at every token: arrays are copied, not numbers.
  for (let at = 0; at < mask.data.length; at += room)
    (mask.data as Float32Array).set(data as Float32Array, at)
  return mask
}

/** A mask covers the encoder's tokens, the tokens of this run, or the cache as well. */
function maskLength(
  { ids: tokens, encoderIds, states, switches }: LanguagePorts,
  { dims, name }: Port,
  ids: readonly number[],
  past: number,
  encoded: readonly number[],
): number {
  if (encoderIds) {
    const isDecoders = dims[1] === encoderIds.dims[1] ? false : /decoder/i.test(name)
    return isDecoders ? ids.length : encoded.length
  }
  // What both ways of a model read is declared as the one without a cache has it.
  const isOfThisRun = switches.length === 0 && dims[1] !== '' && dims[1] === tokens.dims[1]
  return isOfThisRun || states.length === 0 ? ids.length : past + ids.length
}

/** Of a cache of `length` tokens: what all unknown sizes are but that of the batch. */
export function cacheSizes(
  { ids }: LanguagePorts,
  { dims }: Port,
  rows: number,
  length: number,
): number[] {
  const [batch] = ids.dims
  const named = dims.indexOf(batch ?? '')
  const first = typeof batch === 'number' ? -1 : dims.findIndex((dim) => typeof dim !== 'number')
  const at = typeof batch === 'string' && named >= 0 ? named : first
  return dims.map((dim, axis) => (typeof dim === 'number' ? dim : axis === at ? rows : length))
}
