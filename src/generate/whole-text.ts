/**
 * Whether a decoder whose cache was fixed says what the model says: it takes masks for those that
 * hide nothing and positions for those that are counted or fed, and what a graph means by its masks
 * is not for it to know. So one text that it made up is read by the model as it is, all at once,
 * and both say what they expect next.
 */
import { AttncError } from '../errors.js'
import { loadFrom } from '../model-folder/load.js'
import { chooseGenerator } from './choose-model.js'
import { openDecoder } from './decoder.js'
import { readLanguagePorts } from './language-ports.js'
import type { ReciteOptions } from './recite-options.js'

/** Of the probability, what may lie elsewhere: several times what rounding to half precision moves. */
const mostApart = 0.1

/** Tokens after which scores are compared: many at the beginning, and the last. */
export function placesToCompare(length: number): number[] {
  const last = length - 2
  const places = [0]
  for (let place = 1; place < last; place *= 2) places.push(place)
  return last > 0 ? [...places, last] : places
}

/** `scores` are those after tokens of the text, by their places. Error: CACHE_IN_PLACE. */
export async function assertAsWhole(
  options: ReciteOptions,
  text: readonly number[],
  scores: ReadonlyMap<number, Float32Array>,
): Promise<void> {
  const { location, file } = chooseGenerator(options.source, options.single === true)
  const { model, path } = loadFrom(location, file)
  await using decoder = await openDecoder({ ...options, ports: readLanguagePorts(model), path })
  const places = [...scores.keys()]
  const whole = await decoder.scoresWithin(text, places)
  const apart = places.map((place, at) =>
    distance(scores.get(place) as Float32Array, whole[at] as ArrayLike<number>),
  )
  const worst = Math.max(...apart)
  if (worst <= mostApart) return
  const place = places[apart.indexOf(worst)] as number
  throw new AttncError(
    'CACHE_IN_PLACE',
    'numeric',
    `After ${place + 1} tokens ${(100 * worst).toFixed(0)} % of the probability lies elsewhere than in the model as it is.`,
  )
}

/** Half of what the probabilities of two rows of scores differ by in all: 0 is the same, 1 nothing in common. */
function distance(one: ArrayLike<number>, other: ArrayLike<number>): number {
  const [p, q] = [probabilities(one), probabilities(other)]
  return p.reduce((sum, each, at) => sum + Math.abs(each - (q[at] as number)), 0) / 2
}

function probabilities(scores: ArrayLike<number>): Float64Array {
  const each = Float64Array.from(scores)
  const top = each.reduce((a, b) => Math.max(a, b), Number.NEGATIVE_INFINITY)
  const weights = each.map((score) => Math.exp(score - top))
  const sum = weights.reduce((a, b) => a + b, 0)
  return weights.map((weight) => weight / sum)
}
