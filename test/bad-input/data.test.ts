/** Data that is damaged, empty or made for another model: said by name, with what the model takes. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { writeArrays } from '../../src/data/npz.js'
import { openData } from '../../src/data/open-data.js'
import { importModel } from '../../src/graph/import.js'
import { encodeTensor, toBytes } from '../../src/onnx/codec.js'
import { tensorOf } from '../../src/onnx/numbers.js'
import { wordTokenizer } from '../data/word-tokenizer.js'
import { attentionModel } from '../fuzz/models.js'
import { tensorMessage } from '../onnx/messages.js'
import { refusalOf } from './refusal.js'

let folder: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'attnc-test-'))
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

const { model } = importModel(attentionModel()).graph

/** Ids up to 20, and the model has 11. */
const fits = { 'tokenizer.json': wordTokenizer({ a: 0, b: 1 }, 'a') }
const tooLarge = { 'tokenizer.json': wordTokenizer({ a: 0, b: 20 }, 'a') }

const arrays = (dims: number[], name = 'ids'): Uint8Array =>
  writeArrays({
    [name]: tensorOf('int64', dims, Array(dims.reduce((a, b) => a * b, 1)).fill(1)),
  })

type Files = Readonly<Record<string, string | Uint8Array>>

describe('data is refused that', () => {
  test.each<[title: string, data: string, files: Files, code: string, text: string]>([
    ['is not there', 'x.txt', {}, 'DATA_MISSING', 'x.txt'],
    ['is of an unknown kind', 'x.csv', { 'x.csv': '1,2' }, 'DATA_FORMAT', '.npz'],
    ['is an empty text', 'x.txt', { 'x.txt': '', ...fits }, 'DATA_EMPTY', 'x.txt'],
    ['is too short a text', 'x.txt', { 'x.txt': 'a b', ...fits }, 'DATA_EMPTY', '4 tokens'],
    ['is text without a tokenizer', 'x.txt', { 'x.txt': 'a b' }, 'NO_TOKENIZER', 'tokenizer.json'],
    [
      'is text with a tokenizer that is none',
      'x.txt',
      { 'x.txt': 'a b', 'tokenizer.json': '{"model": 3}' },
      'TOKENIZER_UNREADABLE',
      'tokenizer.json',
    ],
    [
      'is text with settings of a tokenizer that are none',
      'x.txt',
      { 'x.txt': 'a b', ...fits, 'tokenizer_config.json': '{' },
      'TOKENIZER_UNREADABLE',
      'tokenizer_config.json" can\'t be read as a tokenizer: ',
    ],
    [
      'is text with the tokenizer of another model',
      'x.txt',
      { 'x.txt': 'a b a b a b', ...tooLarge },
      'TOKENIZER_MISMATCH',
      'id 20',
    ],
    [
      'is text in lines with the tokenizer of another model',
      'x.jsonl',
      { 'x.jsonl': '{"text": "a b"}', ...tooLarge },
      'TOKENIZER_MISMATCH',
      'id 20',
    ],
    ['is an empty list of lines', 'x.jsonl', { 'x.jsonl': '\n', ...fits }, 'DATA_EMPTY', 'x.jsonl'],
    [
      'has a line that is no JSON',
      'x.jsonl',
      { 'x.jsonl': '{"ids": [1]}\n{' },
      'JSON_LINE',
      'ine 2',
    ],
    ['has a list with holes', 'x.jsonl', { 'x.jsonl': '{"ids": [1, null]}' }, 'JSON_LINE', 'ids'],
    [
      'has lines of another model',
      'x.jsonl',
      { 'x.jsonl': '{"pixels": [1, 2]}' },
      'INPUT_MISSING',
      '"ids"',
    ],
    ['is no archive', 'x.npz', { 'x.npz': 'hello' }, 'ARRAY_FORMAT', 'x.npz'],
    ['is no array', 'x.npy', { 'x.npy': 'hello' }, 'ARRAY_FORMAT', 'x.npy'],
    [
      'is an archive cut short',
      'x.npz',
      { 'x.npz': arrays([4, 5]).subarray(0, 150) },
      'ARRAY_FORMAT',
      'x.npz',
    ],
    [
      'has arrays by other names',
      'x.npz',
      { 'x.npz': arrays([4, 5], 'words') },
      'INPUT_MISSING',
      '"words" [4,5]',
    ],
    ['has another rank', 'x.npz', { 'x.npz': arrays([4, 5, 6]) }, 'INPUT_SHAPE', '[4,5,6]'],
    [
      'is a test data set cut short',
      'set',
      { 'set/input_0.pb': Uint8Array.of(8, 2, 8) },
      'TEST_DATA_UNREADABLE',
      'input_0.pb',
    ],
    ['has no samples', 'x.npz', { 'x.npz': arrays([0, 5]) }, 'DATA_EMPTY', 'no samples'],
    [
      'is a test data set without its tensors',
      'set',
      { 'set/input_1.pb': '' },
      'TEST_DATA_INCOMPLETE',
      'input_0.pb',
    ],
    [
      'is a test data set of another model',
      'set',
      { 'set/input_0.pb': toBytes(encodeTensor(tensorMessage('x', [1, 1, 1], [1]))) },
      'INPUT_SHAPE',
      '[1,1,1]',
    ],
  ])('%s', async (_, data, files, code, text) => {
    mkdirSync(join(folder, 'set'))
    for (const [name, content] of Object.entries(files)) writeFileSync(join(folder, name), content)
    const refusal = await refusalOf(folder, () =>
      openData(join(folder, data), { model, folder, vocabulary: 11, sequenceLength: 4 }),
    )
    expect(refusal).toMatchObject({ code, exit: 2 })
    expect(refusal.message).toContain(text)
  })
})
