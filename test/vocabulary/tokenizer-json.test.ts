/** Tokenizers with fewer tokens: what was cut into tokens that stay is cut the same way; numbers move everywhere. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { loadTokenizer, type Tokenizer } from '../../src/data/tokenizer.js'
import { parseRanges, printRanges } from '../../src/plan/ranges.js'
import { namedTokens, renumberConfig } from '../../src/vocabulary/token-ids.js'
import {
  closeOverTokens,
  cutTokenizer,
  parseTokenizer,
  type TokenizerJson,
} from '../../src/vocabulary/tokenizer-json.js'

let folder: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'attnc-test-'))
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

const open = (json: TokenizerJson): Tokenizer => {
  writeFileSync(join(folder, 'tokenizer.json'), JSON.stringify(json))
  return loadTokenizer(folder)
}

const letters = ['a', 'b', 'c', 'd']
const numbered = (tokens: readonly string[]) =>
  Object.fromEntries(tokens.map((token, id) => [token, id]))
const special = (id: number, content: string) => ({
  id,
  content,
  single_word: false,
  lstrip: false,
  rstrip: false,
  normalized: false,
  special: true,
})
const common = { normalizer: null, post_processor: null, decoder: null }

const merges = ['a b', 'c d', 'ab cd', 'b c', 'a a', 'abcd aa', 'd ab', 'aa b']
const bpe = {
  ...common,
  added_tokens: [special(0, '<end>')],
  pre_tokenizer: { type: 'Whitespace' },
  model: {
    type: 'BPE',
    unk_token: null,
    vocab: numbered(['<end>', ...letters, ...merges.map((merge) => merge.replace(' ', ''))]),
    merges,
  },
}
const pieces = ['ab', '##cd', '##d', '##ab', 'abc', '##bca', 'dd', '##aab']
const wordPiece = {
  ...common,
  added_tokens: [special(0, '[UNK]')],
  pre_tokenizer: { type: 'BertPreTokenizer' },
  model: {
    type: 'WordPiece',
    unk_token: '[UNK]',
    continuing_subword_prefix: '##',
    max_input_chars_per_word: 100,
    vocab: numbered(['[UNK]', ...letters, ...letters.map((letter) => `##${letter}`), ...pieces]),
  },
}
const scored = ['ab', 'bc', 'abc', 'cd', 'da', 'abcd', '▁a', '▁ab', 'ddd']
const unigram = {
  ...common,
  added_tokens: [special(0, '<unk>')],
  pre_tokenizer: {
    type: 'Metaspace',
    replacement: '▁',
    prepend_scheme: 'always',
    add_prefix_space: true,
  },
  model: {
    type: 'Unigram',
    unk_id: 0,
    vocab: ['<unk>', '▁', ...letters, ...scored].map((token, index) => [
      token,
      index === 0 ? 0 : -3 - token.length * 1.7 - index * 0.013,
    ]),
  },
}

describe.each([
  ['BPE', bpe],
  ['WordPiece', wordPiece],
  ['Unigram', unigram],
])('a cut %s', (_, given) => {
  const json = parseTokenizer(JSON.stringify(given), 'it')
  const word = fc.string({ unit: fc.constantFrom(...letters), minLength: 1, maxLength: 9 })
  const text = fc.array(word, { minLength: 1, maxLength: 5 }).map((words) => words.join(' '))

  test('cuts the text that was kept as before, under new numbers', () => {
    const before = open(json)
    fc.assert(
      fc.property(fc.array(text, { minLength: 1, maxLength: 3 }), text, (kept, other) => {
        const seen = kept.flatMap((each) => before.encode(each))
        const keep = [...closeOverTokens(json, seen)].sort((a, b) => a - b)
        const numbers = new Map(keep.map((old, index) => [old, index]))
        const after = open(cutTokenizer(json, numbers))
        for (const each of kept)
          expect(after.encode(each).map((id) => keep[id])).toEqual(before.encode(each))
        // Other text is still cut, into tokens that are there.
        for (const id of after.encode(other)) expect(keep[id]).toBeDefined()
        expect(after.encode(other)).not.toContain(numbers.get(0))
      }),
      { seed: 11, numRuns: 60 },
    )
  })

  test('keeps special tokens whatever is asked for', () => {
    expect(closeOverTokens(json, []).has(0)).toBe(true)
  })
})

test('templates, pairs and padding of a tokenizer get the new numbers', () => {
  const json = {
    ...wordPiece,
    padding: { pad_id: 3, pad_token: 'c' },
    post_processor: {
      type: 'Sequence',
      processors: [
        { type: 'BertProcessing', sep: ['c', 3], cls: ['d', 4] },
        { type: 'TemplateProcessing', special_tokens: { c: { id: 'c', ids: [3], tokens: ['c'] } } },
      ],
    },
  }
  const cut = cutTokenizer(
    json as unknown as TokenizerJson,
    new Map([
      [0, 0],
      [3, 1],
      [4, 2],
    ]),
  )
  expect(cut).toMatchObject({
    padding: { pad_id: 1 },
    post_processor: {
      processors: [
        { sep: ['c', 1], cls: ['d', 2] },
        { special_tokens: { c: { id: 'c', ids: [1], tokens: ['c'] } } },
      ],
    },
  })
  expect(cut.model.vocab).toEqual({ '[UNK]': 0, c: 1, d: 2 })
})

test('a tokenizer of another kind is refused by name', () => {
  const text = '{"model": {"type": "Charsmap", "vocab": {}}}'
  expect(() => parseTokenizer(text, 'it')).toThrow(
    expect.objectContaining({
      code: 'TOKENIZER_KIND',
      message: expect.stringContaining('Charsmap'),
    }),
  )
})

describe('configs', () => {
  const numbers = new Map([
    [0, 0],
    [5, 1],
    [9, 2],
  ])
  test.each([
    [
      { eos_token_id: 5, pad_token_id: null },
      { eos_token_id: 1, pad_token_id: null },
    ],
    [
      { eos_token_id: [5, 9], hidden_size: 5 },
      { eos_token_id: [1, 2], hidden_size: 5 },
    ],
    [{ text_config: { bos_token_id: 9 } }, { text_config: { bos_token_id: 2 } }],
    [{ suppress_tokens: [5, 7, 9] }, { suppress_tokens: [1, 2] }],
    [{ bad_words_ids: [[5], [5, 7]] }, { bad_words_ids: [[1]] }],
    [{ forced_decoder_ids: [[1, 9]] }, { forced_decoder_ids: [[1, 2]] }],
    [
      { added_tokens_decoder: { 9: { content: 'x' } } },
      { added_tokens_decoder: { 2: { content: 'x' } } },
    ],
    [
      { image_token_index: 9, token_dim: 9 },
      { image_token_index: 2, token_dim: 9 },
    ],
  ])('%j', (before, after) => {
    expect(renumberConfig(before as never, numbers)).toEqual(after)
  })

  test('stay the same object where they name no token', () => {
    const config = { hidden_size: 5 }
    expect(renumberConfig(config, numbers)).toBe(config)
  })

  test('name the tokens that have to stay', () => {
    const config = {
      eos_token_id: [5, 9],
      pad_token_id: -1,
      suppress_tokens: [7],
      a: { b_token_id: 3 },
    }
    expect(namedTokens(config)).toEqual([5, 9, 3])
  })
})

test('ascending numbers come back from their ranges, and other texts do not', () => {
  fc.assert(
    fc.property(fc.uniqueArray(fc.nat(300), { minLength: 1 }), (numbers) => {
      const sorted = numbers.toSorted((a, b) => a - b)
      expect(parseRanges(printRanges(sorted))).toEqual(sorted)
    }),
    { seed: 1, numRuns: 100 },
  )
  for (const text of ['', '3-1', '1,1', '5,2', 'a', '1-', '-4', '0-99999999999'])
    expect(parseRanges(text)).toBeUndefined()
})
