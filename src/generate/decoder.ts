/**
 * A language model that is fed a few tokens at a time and says the scores of what comes next, of one
 * text or of several that are as long. With a cache only the new tokens run, and the cache never leaves
 * the session's thread; without one everything said so far runs again.
 */
import { AttncError } from '../errors.js'
import { numbersOf, type RuntimeTensor, tensorOf } from '../onnx/numbers.js'
import type { ProviderName } from '../runtime/provider.js'
import { type Feeds, openSession, type Session, type SessionOptions } from '../runtime/session.js'
import { DRAWN, FIRST, NOISE_FROM, PLACE, SHARPNESS, SUM } from './draw.js'
import type { LanguagePorts } from './language-ports.js'
import { emptyCaches, stepFeeds } from './step-feeds.js'

export interface DecoderOptions extends Omit<SessionOptions, 'provider'> {
  readonly ports: LanguagePorts
  readonly provider?: ProviderName | undefined
  /** Off: a cache that the model has stays empty. Default on. */
  readonly cache?: boolean | undefined
  /** The cache never moves (`fixCache`): steps are replayed over it, and it is empty by what the ports count. */
  readonly isFixed?: boolean | undefined
}

export type Scores = Float32Array | Float64Array

export interface Drawn {
  /** One for each row. */
  readonly tokens: readonly number[]
  /** What the first row's was drawn from, where the graph says it. */
  readonly firstScores: Float32Array | undefined
}

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
  const inPlace = options.isFixed ? { replays: true, inPlace: ports.carry } : {}
  const session = await openSession({ ...options, provider, ...inPlace })
  const usesCache = options.cache !== false && ports.states.length > 0
  return new Decoder(session, ports, usesCache, options.isFixed === true)
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
    private readonly isFixed: boolean,
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
  ): Promise<Drawn> {
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
    const first = results[FIRST]
    return {
      tokens: [...numbersOf(results[DRAWN] as RuntimeTensor)],
      firstScores: first && Float32Array.from(numbersOf(first)),
    }
  }

  /** A whole text at once after `restart`: the scores after its tokens at `places`. */
  async scoresWithin(ids: readonly number[], places: readonly number[]): Promise<Scores[]> {
    const { name } = this.ports.logits
    const { results } = await this.say([ids], [name])
    return places.map((place) => scoresAt(results[name] as RuntimeTensor, place)[0] as Scores)
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
    const feeds = {
      ...stepFeeds(ports, fed, past, this.encoded),
      ...(past === 0 && !this.isFixed ? emptyCaches(ports, fed.length) : {}),
      ...more(place),
    }
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
      `Output "${this.ports.logits.name}" is NaN after ${this.length} ${this.length === 1 ? 'token' : 'tokens'}.`,
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
