/**
 * A tokenizer.json with fewer tokens (BPE, WordPiece, Unigram, WordLevel). What text was cut into tokens that
 * stay is cut the same way afterwards: merges stay where all three of their tokens do, and tokens stay that
 * others are merged from, so that no step on the way to a token is missing. Single characters, bytes and added tokens
 * stay, so that other text is still cut, into more tokens.
 */
import { AttncError } from '../errors.js'
import { isObject, type TokenNumbers } from './token-ids.js'

type Vocab = Readonly<Record<string, number>>

interface TokenizerModel {
  readonly type?: string
  readonly vocab?: Vocab | readonly (readonly [string, number])[]
  readonly merges?: readonly (string | readonly [string, string])[]
  readonly continuing_subword_prefix?: string | null
  readonly end_of_word_suffix?: string | null
  readonly byte_fallback?: boolean
  readonly unk_token?: string | null
  readonly unk_id?: number | null
}

interface AddedToken {
  readonly id: number
  readonly content: string
}

export interface TokenizerJson {
  readonly model: TokenizerModel
  readonly added_tokens?: readonly AddedToken[]
  readonly post_processor?: unknown
  readonly padding?: unknown
}

/** Tokens by number. */
type Tokens = ReadonlyMap<number, string>

/** Error: TOKENIZER_KIND. */
export function parseTokenizer(text: string, what: string): TokenizerJson {
  const json: unknown = JSON.parse(text)
  const model = isObject(json) && isObject(json['model']) ? (json['model'] as TokenizerModel) : {}
  const kinds = { BPE: 1, WordPiece: 1, Unigram: 1, WordLevel: 1 }
  const type = model.type ?? (model.merges ? 'BPE' : undefined)
  if (!model.vocab || !type || !(type in kinds))
    throw new AttncError(
      'TOKENIZER_KIND',
      'usage',
      `"${what}" is a tokenizer of the kind "${model.type}"; BPE, WordPiece, Unigram and WordLevel can be cut.`,
      { suggestions: ['Leave --pass vocabulary away.'] },
    )
  return json as TokenizerJson
}

const isList = (vocab: TokenizerModel['vocab']): vocab is readonly (readonly [string, number])[] =>
  Array.isArray(vocab)

function tokensOf({ vocab = {} }: TokenizerModel): Tokens {
  if (isList(vocab)) return new Map(vocab.map(([token], id) => [id, token]))
  return new Map(Object.entries(vocab).map(([token, id]) => [id, token]))
}

/** The tokens asked for, and all that have to stay with them. */
export function closeOverTokens(
  { model, added_tokens = [] }: TokenizerJson,
  wanted: Iterable<number>,
): Set<number> {
  const tokens = tokensOf(model)
  const ids = new Map([...tokens].map(([id, token]) => [token, id]))
  const keep = new Set(wanted)
  for (const { id } of added_tokens) keep.add(id)
  const unknown = model.unk_id ?? (model.unk_token ? ids.get(model.unk_token) : undefined)
  if (unknown !== undefined) keep.add(unknown)
  const merged = mergesByResult(model)
  for (const [id, token] of tokens) if (isBase(token, merged, model)) keep.add(id)
  const queue = [...keep]
  for (let id = queue.pop(); id !== undefined; id = queue.pop())
    for (const pair of merged.get(tokens.get(id) ?? '') ?? [])
      for (const part of pair) {
        const own = ids.get(part)
        if (own === undefined || keep.has(own)) continue
        keep.add(own)
        queue.push(own)
      }
  return keep
}

/** What every text can be cut into: bytes, and single characters where there are no bytes to fall back to. */
function isBase(
  token: string,
  merged: ReadonlyMap<string, unknown>,
  { continuing_subword_prefix, end_of_word_suffix, byte_fallback, type }: TokenizerModel,
): boolean {
  if (/^<0x[0-9A-F]{2}>$/.test(token)) return true
  if (byte_fallback || merged.has(token)) return false
  const prefix = continuing_subword_prefix ?? (type === 'WordPiece' ? '##' : '')
  const inner = token.startsWith(prefix) ? token.slice(prefix.length) : token
  const bare =
    end_of_word_suffix && inner.endsWith(end_of_word_suffix)
      ? inner.slice(0, -end_of_word_suffix.length)
      : inner
  return [...bare].length === 1
}

/** Pairs that are merged into a token. */
function mergesByResult(model: TokenizerModel): Map<string, (readonly [string, string])[]> {
  const found = new Map<string, (readonly [string, string])[]>()
  for (const merge of model.merges ?? []) {
    const pair = pairOf(merge)
    const result = resultOf(pair, model)
    found.set(result, [...(found.get(result) ?? []), pair])
  }
  return found
}

const pairOf = (merge: string | readonly [string, string]): readonly [string, string] => {
  if (typeof merge !== 'string') return merge
  const at = merge.indexOf(' ', 1)
  return [merge.slice(0, at), merge.slice(at + 1)]
}

function resultOf([one, other]: readonly [string, string], model: TokenizerModel): string {
  const prefix = model.continuing_subword_prefix ?? ''
  return one + (prefix && other.startsWith(prefix) ? other.slice(prefix.length) : other)
}

/** The tokenizer of the tokens that stay, under their new numbers. */
export function cutTokenizer(json: TokenizerJson, numbers: TokenNumbers): TokenizerJson {
  const { model, added_tokens } = json
  return {
    ...json,
    ...(added_tokens && {
      // Some tokenizers know more tokens than the model has rows.
      added_tokens: added_tokens.flatMap((token) => {
        const id = numbers.get(token.id)
        return id === undefined ? [] : [{ ...token, id }]
      }),
    }),
    ...(isObject(json.post_processor) && {
      post_processor: cutProcessor(json.post_processor, numbers),
    }),
    ...(isObject(json.padding) && { padding: withNumber(json.padding, 'pad_id', numbers) }),
    model: cutModel(model, numbers),
  }
}

function cutModel(model: TokenizerModel, numbers: TokenNumbers): TokenizerModel {
  const { vocab = {}, merges } = model
  const kept = [...tokensOf(model)]
    .flatMap(([id, token]): [string, number, number][] => {
      const number = numbers.get(id)
      return number === undefined ? [] : [[token, number, id]]
    })
    .sort((a, b) => a[1] - b[1])
  const names = new Set(kept.map(([token]) => token))
  const isKept = (merge: string | readonly [string, string]): boolean => {
    const pair = pairOf(merge)
    return [...pair, resultOf(pair, model)].every((token) => names.has(token))
  }
  return {
    ...model,
    vocab: isList(vocab)
      ? kept.map(([, , id]) => vocab[id] as readonly [string, number])
      : Object.fromEntries(kept.map(([token, number]) => [token, number])),
    ...(merges && { merges: merges.filter(isKept) }),
    ...(typeof model.unk_id === 'number' && { unk_id: numbers.get(model.unk_id) ?? null }),
  }
}

/** Templates list the ids of their tokens; older processors have pairs of a token and its id. */
function cutProcessor(processor: unknown, numbers: TokenNumbers): unknown {
  if (Array.isArray(processor)) return processor.map((each) => cutProcessor(each, numbers))
  if (!isObject(processor)) return processor
  const mapped = (id: unknown): unknown => numbers.get(id as number) ?? id
  const entries = Object.entries(processor).map(([key, value]): [string, unknown] => {
    if (key === 'ids' && Array.isArray(value)) return [key, value.map(mapped)]
    if ((key === 'sep' || key === 'cls') && Array.isArray(value))
      return [key, [value[0], mapped(value[1])]]
    return [key, cutProcessor(value, numbers)]
  })
  return Object.fromEntries(entries)
}

function withNumber(
  object: Readonly<Record<string, unknown>>,
  key: string,
  numbers: TokenNumbers,
): Readonly<Record<string, unknown>> {
  const value = object[key]
  return typeof value === 'number' ? { ...object, [key]: numbers.get(value) ?? value } : object
}
