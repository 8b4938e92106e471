/** A language model says a few tokens, and the same ones with its cache as without it. */

import { generator } from '../data/generator.js'
import { AttncError } from '../errors.js'
import { openDecoder, type Scores } from '../generate/decoder.js'
import { readHostConfig } from '../generate/host-config.js'
import { type LanguagePorts, readLanguagePorts } from '../generate/language-ports.js'
import { bestOf } from '../generate/sample.js'
import { sliceBound } from '../prune/check.js'
import type { RunOptions } from '../runtime/batches.js'
import { Inapplicable, Objection } from './report.js'
import type { Subject } from './subject.js'

const promptLength = 8
const tokens = 8

/**
 * Where activations are rounded by the range of all that runs together, a step of one token is rounded otherwise than
 * the whole text, cache or not. How much that does is measured without a cache, by another text beside the first; both
 * ways of a model are as near to its unrounded self, so their difference is of that size.
 */
const company = 2

export async function checkGeneration(
  { source, view }: Subject,
  options: RunOptions & { readonly seed?: number | undefined },
): Promise<string> {
  const ports = portsOf(source.model)
  const vocabulary = vocabularyOf(ports, view.vocabulary)
  const next = generator(options.seed ?? 0)
  const draw = (): number[] =>
    Array.from({ length: promptLength }, () => Math.floor(next() * vocabulary))
  const prompt = draw()
  const encoded = ports.encoderIds ? draw() : []
  const start = readHostConfig(source.folder).decoderStart ?? 0
  const first = ports.encoderIds ? [start] : prompt
  const speaker = { ports, path: source.path, encoded, first, options }
  const free = await say(speaker, { cache: true })
  const said = free.scores.map(bestOf)
  if (!free.usesCache) return `says ${tokens} tokens; it has no cache`
  // The same tokens again, so that a near tie does not send the two different ways.
  const whole = await say(speaker, { cache: false, said })
  const differences = differencesOf(free.scores, whole.scores)
  const exact = sliceBound(source.model)
  const isExact = differences.every((each) => each <= exact)
  const canHaveRows = typeof ports.ids.dims[0] !== 'number'
  const beside = canHaveRows && !isExact ? draw() : undefined
  const blur = beside
    ? Math.max(
        ...differencesOf((await say(speaker, { cache: false, said, beside })).scores, whole.scores),
      )
    : 0
  const bound = Math.max(exact, company * blur)
  const at = differences.findIndex((each) => !(each <= bound))
  if (at >= 0)
    throw new Objection(
      'numeric',
      `With its cache the scores after ${first.length + at} tokens differ by ${(differences[at] ?? 0).toExponential(1)} of the largest from those without; ${shortOf(bound)} is allowed.`,
    )
  const agree = whole.scores.filter((scores, at) => bestOf(scores) === said[at]).length
  const how = isExact
    ? ''
    : `, within ${shortOf(Math.max(...differences))}; what runs together changes its scores by ${shortOf(blur)}`
  return `says ${tokens} tokens with its cache; ${agree} of ${said.length} choices are those without it${how}`
}

/** Tokens to draw prompts of. */
function vocabularyOf({ logits }: LanguagePorts, known: number | undefined): number {
  const width = logits.dims.at(-1)
  const vocabulary = known ?? (typeof width === 'number' ? width : 2)
  if (typeof width === 'number' && width < vocabulary)
    throw new Inapplicable(
      `output "${logits.name}" has ${width} numbers, too few for scores of ${vocabulary} tokens`,
    )
  return vocabulary
}

interface Speaker {
  readonly ports: LanguagePorts
  readonly path: string
  /** What the encoder reads, where there is one. */
  readonly encoded: readonly number[]
  /** What the decoder begins with. */
  readonly first: readonly number[]
  readonly options: RunOptions
}

/** Scores after what it begins with and after each token: those of `said`, and as it likes best behind them. */
async function say(
  { ports, path, encoded, first, options: { provider, threads, signal } }: Speaker,
  how: {
    readonly cache: boolean
    readonly said?: readonly number[]
    /** Tokens of a second text that runs with the first. */
    readonly beside?: readonly number[] | undefined
  },
): Promise<{ readonly scores: readonly Scores[]; readonly usesCache: boolean }> {
  const { cache, said = [], beside } = how
  await using decoder = await openDecoder({ ports, path, provider, threads, signal, cache })
  decoder.restart(encoded)
  const next = async (ids: readonly number[]): Promise<Scores> => {
    const other = beside && ids.map((_, i) => beside[i % beside.length] ?? 0)
    const [scores] = await decoder.nextOfAll(other ? [ids, other] : [ids])
    return scores as Scores
  }
  const scores = [await next(first)]
  for (let count = 0; count < tokens; count++)
    scores.push(await next([said[count] ?? bestOf(scores.at(-1) ?? [])]))
  return { scores, usesCache: decoder.usesCache }
}

function portsOf(model: Subject['source']['model']): LanguagePorts {
  try {
    return readLanguagePorts(model)
  } catch (error) {
    if (error instanceof AttncError)
      throw new Inapplicable(`it is no language model: ${error.message}`)
    throw error
  }
}

const shortOf = (share: number): string => String(Number(share.toPrecision(2)))

const differencesOf = (one: readonly Scores[], other: readonly Scores[]): number[] =>
  one.map((scores, at) => largestDifference(scores, other[at] ?? []))

function largestDifference(one: ArrayLike<number>, other: ArrayLike<number>): number {
  let [largest, scale] = [0, 1e-6]
  for (let i = 0; i < one.length; i++) {
    const [a, b] = [one[i] as number, other[i] as number]
    if (a !== b) largest = Math.max(largest, Math.abs(a - b))
    if (Number.isFinite(b)) scale = Math.max(scale, Math.abs(b))
  }
  return largest / scale
}
