/** How made-up windows begin, at which temperature they go on, and the chance that each has of its own. */
import { generator } from '../data/generator.js'
import type { ReciteOptions } from './recite-options.js'
import { findStart } from './start-token.js'

/** Numbers from 0 to 1, one a call. */
export type Chance = () => number

export interface Beginning {
  /** The first tokens; at least one. */
  readonly given: readonly number[]
  readonly temperature: number
  readonly chance: Chance
}

/** Tokens of the data that a window begins with. */
const prompt = 4

/** By the number of a window: what it says is the same however many run together. */
export function beginnings(options: ReciteOptions): (window: number) => Beginning {
  const { seed, temperatures = [1] } = options
  const ways = waysToBegin(options)
  return (window) => {
    const chance = chanceOf(seed, window)
    const given = byTurns(ways, window)(chance)
    // Every way to begin comes with every temperature.
    return { given, temperature: byTurns(temperatures, Math.floor(window / ways.length)), chance }
  }
}

const byTurns = <T>(ways: readonly T[], turn: number): T => ways[turn % ways.length] as T

const chanceOf = (seed: number, window: number): Chance =>
  generator(Math.floor(generator(seed)() * 2 ** 32) + window)

/** At least one: a few tokens of the data, the token that texts begin with, any token. */
function waysToBegin({
  source,
  texts = [],
  vocabulary,
}: ReciteOptions): readonly ((chance: Chance) => readonly number[])[] {
  const start = findStart(source.folder)
  const ways = [
    ...(texts.length > 0 ? [(chance: Chance) => drawPrompt(texts, chance)] : []),
    ...(start !== undefined && start < (vocabulary ?? Number.POSITIVE_INFINITY)
      ? [() => [start]]
      : []),
    ...(vocabulary ? [(chance: Chance) => [Math.floor(chance() * vocabulary)]] : []),
  ]
  return ways.length > 0 ? ways : [() => [0]]
}

/** A few tokens from anywhere in a text. */
function drawPrompt(texts: readonly (readonly number[])[], chance: Chance): readonly number[] {
  const text = texts[Math.floor(chance() * texts.length)] ?? []
  const from = Math.floor(chance() * Math.max(text.length - prompt, 1))
  return text.slice(from, from + prompt)
}
