/**
 * A language model that is fed a few tokens at a time and says the scores of what comes next, of one
 * text or of several that are as long. With a cache only the new tokens run, and the cache never leaves
 * the session's thread; without one everything said so far runs again.
 */
import { AttncError } from '../errors.js'
import { numbersOf, ones, type RuntimeTensor, tensorOf, zeros } from '../onnx/numbers.js'
import { elementCount } from '../onnx/tensor.js'
import type { ProviderName } from '../runtime/provider.js'
import {
  type Feeds,
  openSession,
  type Port,
  type Session,
  type SessionOptions,
} from '../runtime/session.js'
import { DRAWN, NOISE_FROM, PLACE, SHARPNESS, SUM } from './draw.js'
import type { Counter, LanguagePorts } from './language-ports.js'

export interface DecoderOptions extends Omit<SessionOptions, 'provider'> {
  readonly ports: LanguagePorts
  readonly provider?: ProviderName | undefined
  /** Off: a cache that the model has stays empty. Default on. */
  readonly cache?: boolean | undefined
}

export type Scores = Float32Array | Float64Array

/** Errors: ENCODER_DECODER_CACHE and those of `openSession`. */
export async function openDecoder(options: DecoderOptions): Promise<Decoder> {
  const { ports, provider = 'cpu' } = options
  if (ports.encoderIds && ports.states.length > 0)
    throw new AttncError(
      'ENCODER_DECODER_CACHE',
      'usage',
      'The model has an encoder and a cache in one graph, and that is not supported.',
      { suggestions: ['Give the export without a cache: it runs the decoder again each time.'] },
    )
  const session = await openSession({ ...options, provider })
  return new Decoder(session, ports, options.cache !== false && ports.states.length > 0)
}

export class Decoder implements AsyncDisposable {
  /** Tokens of each row so far, and what they were where that is read again. */
  private length = 0
  private said: readonly (readonly number[])[] = []
  private encoded: readonly number[] = []

  constructor(
    private readonly session: Session,
    private readonly ports: LanguagePorts,
    readonly usesCache: boolean,
  ) {}

  get hasEncoder(): boolean {
    return this.ports.encoderIds !== undefined
  }

  /** Milliseconds that the last step took inside ONNX Runtime. */
  get lastRunMs(): number {
    return this.session.lastRunMs
  }

  /** Tokens that fit, where the graph fixes them. */
  get limit(): number | undefined {
    const stated = this.ports.ids.dims[1]
    return typeof stated === 'number' ? stated : undefined
  }

  /** Forgets what was said; `encoded` is what an encoder reads from now on. */
  restart(encoded: readonly number[] = []): void {
    this.length = 0
    this.said = []
    this.encoded = encoded
  }

  /** Says `ids` after what was said before; the scores of the token that comes next. Error: NOT_A_NUMBER. */
  async next(ids: readonly number[]): Promise<Scores> {
    const [scores] = await this.nextOfAll([ids])
    return scores as Scores
  }

  /** As `next`, for texts that are all as long: one row each, the same rows until `restart`. */
  async nextOfAll(rows: readonly (readonly number[])[]): Promise<Scores[]> {
    const { name } = this.ports.logits
    const { results, place } = await this.say(rows, [name])
    const scores = scoresAt(results[name] as RuntimeTensor, place)
    this.refuseNaN(scores.some((row) => row.some(Number.isNaN)))
    return scores
  }

  /**
   * As `nextOfAll`, of a model that draws the token itself (`drawInGraph`), each row by the noise from its place
   * on and at a temperature. Error: NOT_A_NUMBER.
   */
  async drawOfAll(
    rows: readonly (readonly number[])[],
    noiseFrom: readonly number[],
    temperatures: readonly number[],
  ): Promise<number[]> {
    // Sequences of fixed length have room behind the newest token.
    const hasRoom = this.limit !== undefined && this.ports.logits.dims[1] !== 1
    const { results } = await this.say(rows, [DRAWN, SUM], (place) => ({
      [PLACE]: tensorOf('int64', [], [hasRoom ? place : -1]),
      [NOISE_FROM]: tensorOf('int64', [rows.length, 1], noiseFrom),
      [SHARPNESS]: tensorOf(
        'float32',
        [rows.length, 1],
        temperatures.map((each) => 1 / each),
      ),
    }))
    this.refuseNaN(numbersOf(results[SUM] as RuntimeTensor).some(Number.isNaN))
    return [...numbersOf(results[DRAWN] as RuntimeTensor)]
  }

  /** One run; `place` is where along the sequence the newest tokens' scores stand. */
  private async say(
    rows: readonly (readonly number[])[],
    fetches: readonly string[],
    more: (place: number) => Feeds = () => ({}),
  ) {
    const { ports, session } = this
    const past = this.usesCache ? this.length : 0
    this.length += rows[0]?.length ?? 0
    if (!this.usesCache) this.said = rows.map((ids, row) => [...(this.said[row] ?? []), ...ids])
    const fed = this.usesCache ? rows : this.said
    const place = (fed[0]?.length ?? 1) - 1
    const feeds = { ...feedsOf(ports, fed, past, this.encoded), ...more(place) }
    const results = this.usesCache
      ? await session.step(feeds, ports.carry)
      : await session.run(feeds, fetches)
    return { results, place }
  }

  private refuseNaN(hasNaN: boolean): void {
    if (!hasNaN) return
    throw new AttncError(
      'NOT_A_NUMBER',
      'numeric',
      `Output "${this.ports.logits.name}" is NaN after ${this.length} tokens.`,
      { suggestions: ['Run "attnc verify" on the model.'] },
    )
  }

  async close(): Promise<void> {
    await this.session.close()
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }
}

/** Scores [batch, sequence, vocabulary] of each row at `index`, or at the only place there is. */
function scoresAt(tensor: RuntimeTensor, index: number): Scores[] {
  const [rows = 1, length = 1, size = 0] = tensor.dims
  return Array.from({ length: rows }, (_, row) => {
    const at = (row * length + Math.min(index, length - 1)) * size
    const data = tensor.data.slice(at, at + size) as RuntimeTensor['data']
    return numbersOf({ dataType: tensor.dataType, dims: [size], data })
  })
}

/** One run: the ids of each row after `past` tokens that are in the cache. */
function feedsOf(
  ports: LanguagePorts,
  rows: readonly (readonly number[])[],
  past: number,
  encoded: readonly number[],
): Record<string, RuntimeTensor> {
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
  if (past === 0)
    for (const port of ports.states)
      feeds[port.name] = zeros(port.dataType, emptyState(ports, port, rows.length))
  return feeds
}

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
  if (typeof last === 'number' && last !== length)
    return fillRows(port, [new Array<number>(length).fill(1)], rows)
  return ones(port.dataType, [...sizes(port, rows).slice(0, -1), length])
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

/** Nothing of a past: unknown sizes but that of the batch are 0. */
function emptyState({ ids }: LanguagePorts, { dims }: Port, rows: number): number[] {
  const [batch] = ids.dims
  const named = dims.indexOf(batch ?? '')
  const first = typeof batch === 'number' ? -1 : dims.findIndex((dim) => typeof dim !== 'number')
  const at = typeof batch === 'string' && named >= 0 ? named : first
  return dims.map((dim, axis) => (typeof dim === 'number' ? dim : axis === at ? rows : 0))
}
