/**
 * Ids of tokens in configs: `eos_token_id` and its like in config.json, generation_config.json and
 * genai_config.json, lists of tokens to leave unsaid, and the keys of added tokens in tokenizer_config.json.
 */
import type { Json } from '../model-folder/save.js'

/** New numbers by old ones. */
export type TokenNumbers = ReadonlyMap<number, number>

export const isObject = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

/** Source: PretrainedConfig and GenerationConfig of transformers 4.5x. */
const isTokenKey = (key: string): boolean =>
  /(^|_)tokens?_ids?$|^(image|video|audio|boi|eoi)_token_index$/.test(key)
const lists = new Set([
  'suppress_tokens',
  'begin_suppress_tokens',
  'forced_decoder_ids',
  'bad_words_ids',
  'force_words_ids',
])

/** Ids that a config names: they have to stay. Lists of what is never said need not. */
export function namedTokens(config: Json): number[] {
  if (Array.isArray(config)) return config.flatMap(namedTokens)
  if (!isObject(config)) return []
  return Object.entries(config).flatMap(([key, value]) => {
    if (isTokenKey(key)) return numbersIn(value as Json)
    if (key === 'forced_decoder_ids') return numbersIn(value as Json)
    return namedTokens(value as Json)
  })
}

const numbersIn = (value: Json): number[] => {
  if (typeof value === 'number') return value >= 0 ? [value] : []
  return Array.isArray(value) ? value.flatMap(numbersIn) : []
}

/** A config with the new numbers; the same object where it names no tokens. */
export function renumberConfig(config: Json, numbers: TokenNumbers): Json {
  const changed = renumber(config, numbers)
  return JSON.stringify(changed) === JSON.stringify(config) ? config : changed
}

function renumber(config: Json, numbers: TokenNumbers): Json {
  if (Array.isArray(config)) return config.map((each) => renumber(each, numbers))
  if (!isObject(config)) return config
  return Object.fromEntries(
    Object.entries(config as { readonly [key: string]: Json }).map(([key, value]) => {
      if (key === 'added_tokens_decoder' && isObject(value)) return [key, keysOf(value, numbers)]
      if (key === 'forced_decoder_ids' && Array.isArray(value))
        return [key, value.map((pair) => forced(pair, numbers))]
      if (lists.has(key)) return [key, kept(value, numbers)]
      return [key, isTokenKey(key) ? mapped(value, numbers) : renumber(value, numbers)]
    }),
  )
}

const mapped = (value: Json, numbers: TokenNumbers): Json => {
  if (typeof value === 'number') return numbers.get(value) ?? value
  return Array.isArray(value) ? value.map((each) => mapped(each, numbers)) : value
}

/** Without what went; words of several tokens go with any of them. */
function kept(value: Json, numbers: TokenNumbers): Json {
  if (!Array.isArray(value)) return value
  const isKept = (each: Json): boolean =>
    Array.isArray(each)
      ? each.every(isKept)
      : typeof each !== 'number' || each < 0 || numbers.has(each)
  return value.filter(isKept).map((each) => mapped(each, numbers))
}

/** [place, id] */
const forced = (pair: Json, numbers: TokenNumbers): Json =>
  Array.isArray(pair) ? [pair[0] as Json, mapped(pair[1] as Json, numbers)] : pair

const keysOf = (value: Readonly<Record<string, Json>>, numbers: TokenNumbers): Json =>
  Object.fromEntries(
    Object.entries(value).map(([id, token]) => [String(numbers.get(Number(id)) ?? id), token]),
  )
