/** The next token of its scores: the best one, or one drawn from those that are likely enough. */
import { generator } from '../data/generator.js'
import { AttncError } from '../errors.js'

export interface SamplingOptions {
  /** 0 takes the best token every time. Default 0, and 1 where `topK` or `topP` is given. */
  readonly temperature?: number | undefined
  /** Draw from so many tokens at most. */
  readonly topK?: number | undefined
  /** Draw from the fewest tokens whose probabilities add up to this much. */
  readonly topP?: number | undefined
  readonly seed?: number | undefined
}

export type Sampler = (scores: ArrayLike<number>) => number

/** Error: SAMPLING_RANGE. */
export function makeSampler(options: SamplingOptions): Sampler {
  const { topK, topP, seed = 0 } = options
  const temperature = options.temperature ?? (topK !== undefined || topP !== undefined ? 1 : 0)
  check('temperature', temperature, temperature >= 0, 'at least 0')
  if (topK !== undefined) check('top-k', topK, topK >= 1, 'at least 1')
  if (topP !== undefined) check('top-p', topP, topP > 0 && topP <= 1, 'above 0 and at most 1')
  if (temperature === 0) return bestOf
  const next = generator(seed)
  if (topK === undefined && (topP ?? 1) === 1)
    return (scores) => drawFromAll(scores, temperature, next())
  return (scores) => {
    const likely = mostLikely(scores, temperature, topK, topP)
    let left = next() * likely.reduce((sum, { weight }) => sum + weight, 0)
    for (const { token, weight } of likely) {
      left -= weight
      if (left < 0) return token
    }
    return likely[0]?.token ?? 0
  }
}

/** The first token up to which the probabilities add up to more than `place`. */
function drawFromAll(scores: ArrayLike<number>, temperature: number, place: number): number {
  const top = scores[bestOf(scores)] as number
  // Plain loops: a vocabulary of many texts passes here at every step.
  const sums = new Float64Array(scores.length)
  let sum = 0
  for (let token = 0; token < sums.length; token++) {
    sum += Math.exp(((scores[token] as number) - top) / temperature)
    sums[token] = sum
  }
  const wanted = place * sum
  for (let token = 0; token < sums.length; token++)
    if ((sums[token] as number) > wanted) return token
  return sums.length - 1
}

export function bestOf(scores: ArrayLike<number>): number {
  let best = 0
  for (let token = 1; token < scores.length; token++)
    if ((scores[token] as number) > (scores[best] as number)) best = token
  return best
}

function mostLikely(
  scores: ArrayLike<number>,
  temperature: number,
  topK = scores.length,
  topP = 1,
): { token: number; weight: number }[] {
  const top = scores[bestOf(scores)] as number
  const all = Array.from(scores, (score, token) => ({
    token,
    score,
    weight: Math.exp((score - top) / temperature),
  }))
  const sorted = all.sort((a, b) => b.score - a.score || a.token - b.token).slice(0, topK)
  const mass = topP * sorted.reduce((sum, { weight }) => sum + weight, 0)
  let held = 0
  const last = sorted.findIndex(({ weight }) => {
    held += weight
    return held >= mass
  })
  return last < 0 ? sorted : sorted.slice(0, last + 1)
}

function check(what: string, value: number, isFine: boolean, expected: string): void {
  if (isFine) return
  throw new AttncError('SAMPLING_RANGE', 'usage', `${what} is ${value}; it has to be ${expected}.`)
}
