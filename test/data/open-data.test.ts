import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import type { Batch } from '../../src/data/batch.js'
import { writeArrays } from '../../src/data/npz.js'
import { type DataOptions, openData } from '../../src/data/open-data.js'
import { importModel } from '../../src/graph/import.js'
import { encodeTensor, toBytes } from '../../src/onnx/codec.js'
import { numbersOf, tensorOf } from '../../src/onnx/numbers.js'
import { node, tensorMessage, valueInfo } from '../onnx/messages.js'
import { wordTokenizer } from './word-tokenizer.js'

const folder = mkdtempSync(join(tmpdir(), 'attnc-test-'))
afterAll(() => rmSync(folder, { recursive: true }))

const words = ['[UNK]', 'the', 'cat', 'sat', 'on', 'a', 'mat', 'dog']
const vocabulary = Object.fromEntries(words.map((word, id) => [word, id]))
writeFileSync(join(folder, 'tokenizer.json'), wordTokenizer(vocabulary, '[UNK]'))

type Input = readonly [name: string, elementType: number, ...dims: (number | string)[]]

const FLOAT = 1
const INT64 = 7

/** A model that takes these inputs; what it does with them plays no part. */
function modelOf(inputs: readonly Input[]) {
  return importModel(
    {
      ir_version: 8n,
      opset_import: [{ domain: '', version: 17n }],
      graph: {
        name: 'inputs',
        node: [node('Identity', ['c'], ['y'])],
        initializer: [tensorMessage('c', [1], [0])],
        input: inputs.map(([name, elementType, ...dims]) => {
          const { type } = valueInfo(name, ...dims)
          return { name, type: { tensor_type: { ...type.tensor_type, elem_type: elementType } } }
        }),
        output: [valueInfo('y', 1)],
      },
    },
    {},
  )
}

const text: readonly Input[] = [
  ['input_ids', INT64, 'batch', 'sequence'],
  ['attention_mask', INT64, 'batch', 'sequence'],
]

function read(
  inputs: readonly Input[],
  name: string,
  content: string | Uint8Array | undefined,
  options: Partial<DataOptions> = {},
): Batch[] {
  const path = join(folder, name)
  mkdirSync(dirname(path), { recursive: true })
  if (content !== undefined) writeFileSync(path, content)
  return openData(path, { model: modelOf(inputs), folder, batchSize: 2, ...options })
}

const feedsOf = (batches: readonly Batch[]): Record<string, number[]>[] =>
  batches.map(({ feeds }) =>
    Object.fromEntries(Object.entries(feeds).map(([name, each]) => [name, [...numbersOf(each)]])),
  )

describe('text', () => {
  test('is cut into windows of one stream', () => {
    const batches = read(text, 'a.txt', 'the cat sat on a mat the dog', { sequenceLength: 3 })
    expect(batches).toHaveLength(1)
    expect(batches[0]?.ids).toEqual([
      [1, 2, 3],
      [4, 5, 6],
    ])
  })

  test('is read as far as is wanted, and the same as all of it', () => {
    const sentence = 'the cat sat on a mat the dog sat on the cat a dog'
    const long = `${Array.from({ length: 9000 }, (_, at) => sentence.slice(0, 40 - 4 * (at % 7))).join('\n\n')}\n`
    for (const textMode of ['stream', 'paragraphs', 'sentences'] as const) {
      const settings = { sequenceLength: 7, textMode, startToken: 0 }
      const whole = read(text, 'long.txt', long, settings).flatMap(({ ids }) => ids)
      // What can't be read any more lies behind what is wanted.
      const broken = Buffer.concat([Buffer.from(long), Buffer.from([0xff])])
      for (const samples of [3, 300]) {
        const some = read(text, 'broken.txt', broken, { ...settings, samples })
        const wanted = whole.slice(0, samples)
        if (textMode !== 'sentences') expect(some.flatMap(({ ids }) => ids)).toEqual(wanted)
        expect(some.flatMap(({ ids }) => ids)).toHaveLength(samples)
      }
      expect(() => read(text, 'broken.txt', broken, settings)).toThrow(/not text in UTF-8/)
    }
    const lines = `${'{"text": "the cat"}\n'.repeat(90_000)}{"te`
    expect(read(text, 'long.jsonl', lines, { samples: 3 }).flatMap(({ ids }) => ids)).toHaveLength(
      3,
    )
    expect(() => read(text, 'long.jsonl', lines)).toThrow(/Line 90001 /)
  })

  test('of a model of fixed length is cut to that length', () => {
    const fixed: Input[] = [['input_ids', INT64, 1, 4]]
    const batches = read(fixed, 'a.md', 'the cat sat on a mat the dog', { sequenceLength: 100 })
    expect(batches.map(({ ids }) => ids)).toEqual([[[1, 2, 3, 4]], [[5, 6, 1, 7]]])
  })

  test('of a model of a fixed batch comes in whole batches, and too little is said', () => {
    const fixed: Input[] = [['input_ids', INT64, 2, 'sequence']]
    const batches = read(fixed, 'a.jsonl', '{"text": "the cat"}\n'.repeat(5))
    expect(batches.map(({ ids, isWhole }) => [ids.length, isWhole])).toEqual([
      [2, true],
      [2, true],
    ])
    expect(() => read(fixed, 'b.jsonl', '{"text": "the cat"}\n')).toThrow(
      /2 samples at once.* has 1/,
    )
  })

  test('of a model of one sample comes in batches that are not put together', () => {
    const fixed: Input[] = [['input_ids', INT64, 1, 'sequence']]
    const batches = read(fixed, 'a.jsonl', '{"text": "the cat"}\n'.repeat(2))
    expect(batches.map(({ ids, isWhole }) => [ids.length, isWhole])).toEqual([
      [1, true],
      [1, true],
    ])
  })

  test('by the line is padded at the right, and the mask says so', () => {
    const lines = '{"text": "the cat sat"}\n\n{"text": "dog"}\n'
    const [batch] = read(text, 'a.jsonl', lines)
    expect(batch?.ids).toEqual([[1, 2, 3], [7]])
    expect(feedsOf(batch ? [batch] : [])).toEqual([
      { input_ids: [1, 2, 3, 7, 0, 0], attention_mask: [1, 1, 1, 1, 0, 0] },
    ])
    expect([...(batch?.tokenMask?.data ?? [])]).toEqual([1, 1, 1, 1, 0, 0])
  })

  test('feeds encoder and decoder of a translator, and an empty cache', () => {
    const inputs: Input[] = [
      ...text,
      ['decoder_input_ids', INT64, 'batch', 'target'],
      ['past.0', FLOAT, 'batch', 4, 'past', 8],
    ]
    const [batch] = read(inputs, 'b.jsonl', '{"text": "the cat"}\n{"text": "dog"}\n')
    expect(
      Object.fromEntries(Object.entries(batch?.feeds ?? {}).map(([k, v]) => [k, v.dims])),
    ).toEqual({
      input_ids: [2, 2],
      attention_mask: [2, 2],
      decoder_input_ids: [2, 2],
      'past.0': [2, 4, 0, 8],
    })
  })
})

describe('arrays', () => {
  const image: readonly Input[] = [['pixels', FLOAT, 'batch', 3]]

  test('are taken by name, in batches, with what belongs to them', () => {
    const arrays = {
      pixels: tensorOf('float64', [3, 3], [1, 2, 3, 4, 5, 6, 7, 8, 9]),
      labels: tensorOf('int64', [3], [0, 1, 2]),
    }
    const batches = read(image, 'a.npz', writeArrays(arrays))
    expect(feedsOf(batches)).toEqual([{ pixels: [1, 2, 3, 4, 5, 6] }, { pixels: [7, 8, 9] }])
    expect(batches[0]?.feeds['pixels']?.dataType).toBe('float32')
    expect(batches.map(({ extras }) => [...(extras?.['labels']?.data ?? [])])).toEqual([
      [0n, 1n],
      [2n],
    ])
  })

  test('of a fixed batch leave the last, smaller one out', () => {
    const fixed: Input[] = [['pixels', FLOAT, 2, 3]]
    const pixels = tensorOf('float32', [3, 3], [1, 2, 3, 4, 5, 6, 7, 8, 9])
    expect(read(fixed, 'b.npz', writeArrays({ pixels }))).toHaveLength(1)
    // Fewer than a batch is no batch.
    const [only] = read(fixed, 'b.npz', writeArrays({ pixels }), { samples: 1, batchSize: 1 })
    expect(only?.feeds['pixels']?.dims).toEqual([2, 3])
  })

  test('of another first axis are fed whole', () => {
    const inputs: Input[] = [...image, ['table', FLOAT, 5]]
    const arrays = {
      pixels: tensorOf('float32', [3, 3], new Array(9).fill(1)),
      table: tensorOf('float32', [5], [1, 2, 3, 4, 5]),
    }
    const batches = read(inputs, 'c.npz', writeArrays(arrays))
    expect(batches.map(({ feeds }) => feeds['table']?.dims)).toEqual([[5], [5]])
  })

  test('of ids bring mask and lengths with them', () => {
    const ids = tensorOf('int64', [1, 3], [1, 2, 3])
    const [batch] = read(text, 'd.npz', writeArrays({ input_ids: ids }))
    expect(batch?.feeds['attention_mask']?.data).toEqual(BigInt64Array.of(1n, 1n, 1n))
  })

  test('stand in lines as lists, each line a sample', () => {
    const lines = '{"pixels": [1, 2, 3]}\n{"pixels": [4, 5, 6]}\n'
    expect(feedsOf(read(image, 'c.jsonl', lines))).toEqual([
      { pixels: [1, 2, 3] },
      { pixels: [4, 5, 6] },
    ])
  })

  test('stand in folders of test data, one set after another', () => {
    const set = (index: number, first: number): void => {
      mkdirSync(join(folder, 'sets', `test_data_set_${index}`), { recursive: true })
      writeFileSync(
        join(folder, 'sets', `test_data_set_${index}`, 'input_0.pb'),
        toBytes(encodeTensor(tensorMessage('pixels', [1, 3], [first, 0, 0]))),
      )
    }
    set(0, 1)
    set(1, 2)
    expect(feedsOf(read(image, 'sets', undefined))).toEqual([
      { pixels: [1, 0, 0] },
      { pixels: [2, 0, 0] },
    ])
  })

  const npz = (numbers: readonly number[], dims: readonly number[], name = 'pixels') =>
    writeArrays({ [name]: tensorOf('float32', dims, numbers) })
  const two: readonly Input[] = [...image, ['other', FLOAT, 'batch', 1]]
  const uneven = writeArrays({
    pixels: tensorOf('float32', [2, 3], new Array(6).fill(0)),
    other: tensorOf('float32', [3, 1], [1, 2, 3]),
  })

  test.each<[string, readonly Input[], string, string | Uint8Array | undefined, RegExp]>([
    ['DATA_MISSING', image, 'absent.npz', undefined, /no data at/],
    ['DATA_FORMAT', image, 'a.csv', '1,2,3', /\.npz, \.npy and test_data_set/],
    ['TEST_DATA_INCOMPLETE', image, 'empty-folder/x.txt/..', undefined, /neither input_0.pb nor/],
    [
      'INPUT_MISSING',
      image,
      'e.npz',
      npz([1], [1, 1], 'other'),
      /no array "pixels" \(float32 \[batch,3\]\).*it has "other" \[1,1\]/,
    ],
    ['INPUT_SHAPE', image, 'f.npz', npz([1, 2], [1, 2]), /is \[1,2\]; the model takes \[batch,3\]/],
    ['INPUT_SHAPE', image, 'g.npz', npz([1, 2, 3], [3]), /is \[3\]; the model takes/],
    ['DATA_EMPTY', image, 'h.npz', npz([], [0, 3]), /holds no samples/],
    [
      'DATA_NOT_A_NUMBER',
      image,
      'i.npz',
      npz([1, Number.NaN, 3], [1, 3]),
      /holds NaN, first at element 1/,
    ],
    [
      'INPUT_TYPE',
      text,
      'j.npz',
      npz([1, 2.5], [1, 2], 'input_ids'),
      /is float32 and holds 2.5; the model takes int64/,
    ],
    ['INPUT_SHAPE', two, 'k.npz', uneven, /"other" of .* has 3 samples, "pixels" has 2/],
    ['JSON_LINE', image, 'd.jsonl', '{"pixels": [1, 2, 3]}\nnonsense\n', /Line 2 of/],
    ['JSON_LINE', image, 'e.jsonl', '[1, 2, 3]\n', /Line 1 of .* no JSON object/],
    [
      'JSON_LINE',
      image,
      'f.jsonl',
      '{"pixels": [[1, 2], [3, 4, 5], [6]]}\n',
      /no rectangular list/,
    ],
    ['JSON_LINE', image, 'g.jsonl', '{"pixels": [1, null, 3]}\n', /no rectangular list of numbers/],
    ['DATA_EMPTY', image, 'h.jsonl', '\n\n', /holds no samples/],
    ['DATA_EMPTY', text, 'i.jsonl', '{"text": ""}\n', /holds no samples/],
    ['DATA_EMPTY', text, 'b.txt', '', /too little text/],
    ['TEXT_ENCODING', text, 'c.txt', Uint8Array.of(0x63, 0x61, 0x66, 0xe9), /not text in UTF-8/],
    [
      'INPUT_UNKNOWN',
      image,
      'd.txt',
      'the cat sat on a mat',
      /"pixels" .* can't be made from text/,
    ],
    ['TEST_DATA_INCOMPLETE', two, 'sets', undefined, /no input_1.pb; the model has 2 inputs/],
    ['TOKENIZER_MISMATCH', text, 'e.txt', 'the dog sat on', /id 7, the model's vocabulary has 7/],
  ])('%s: %#', (code, inputs, name, content, message) => {
    if (name.startsWith('empty-folder'))
      mkdirSync(join(folder, 'empty-folder', 'x.txt'), { recursive: true })
    const options = { sequenceLength: 2, vocabulary: 7 }
    const act = (): unknown => read(inputs, name, content, options)
    expect(act).toThrow(message)
    expect(act).toThrow(expect.objectContaining({ code, oclif: { exit: 2 } }))
  })

  test.skipIf(process.getuid?.() === 0)('that may not be read are named (skipped as root)', () => {
    const path = join(folder, 'secret.txt')
    writeFileSync(path, 'the cat')
    chmodSync(path, 0)
    expect(() => read(text, 'secret.txt', undefined)).toThrow(/can't be read/)
  })

  test('a folder without a tokenizer is named', () => {
    expect(() => read(text, 'a.txt', undefined, { folder: join(folder, 'sets') })).toThrow(
      expect.objectContaining({ code: 'NO_TOKENIZER' }),
    )
  })
})

test('random inputs are seeded, and tokens stay in the vocabulary', () => {
  const make = (seed: number): Batch[] =>
    openData('random', { model: modelOf(text), folder, vocabulary: 7, samples: 4, seed })
  expect(make(1)).toEqual(make(1))
  expect(make(1)).not.toEqual(make(2))
  expect(
    make(3)
      .flatMap(({ ids }) => ids.flat())
      .every((id) => id >= 0 && id < 7),
  ).toBe(true)
})

describe('inputs of very many numbers', () => {
  test('of pairs and paths are drawn in batches of fewer rows', () => {
    const model = modelOf([['x', FLOAT, 'batch', 'n', 'n', 'n', 8]])
    const batches = openData('random', { model, folder, samples: 4, batchSize: 32 })
    expect(batches.map(({ feeds }) => feeds['x']?.dims)).toEqual([
      [2, 128, 128, 128, 8],
      [2, 128, 128, 128, 8],
    ])
  })

  test.each<[string, Input, number, number]>([
    ['that are declared so', ['x', FLOAT, 'batch', 2 ** 40], 16, 3],
    ['at the length that is asked for', ['x', FLOAT, 'batch', 'n', 'n', 'n'], 4096, 2],
  ])('%s are refused', (_, input, sequenceLength, exit) => {
    expect(() => openData('random', { model: modelOf([input]), folder, sequenceLength })).toThrow(
      expect.objectContaining({ code: 'INPUT_TOO_LARGE', oclif: { exit } }),
    )
  })
})

describe('a mask over arrays of tokens', () => {
  const arrays = (mask: readonly number[]): Uint8Array =>
    writeArrays({
      input_ids: tensorOf('int64', [4, 2], [1, 2, 3, 4, 5, 6, 7, 1]),
      attention_mask: tensorOf('int64', [4, 2], mask),
    })

  test('that hides all of a batch leaves that out', () => {
    const batches = read(text, 'some.npz', arrays([0, 0, 0, 0, 1, 0, 1, 1]))
    expect(batches.map(({ ids }) => ids)).toEqual([[[5], [7, 1]]])
  })

  test('that hides everything is refused', () => {
    expect(() => read(text, 'none.npz', arrays([0, 0, 0, 0, 0, 0, 0, 0]))).toThrow(
      expect.objectContaining({ code: 'DATA_HIDDEN', kind: 'usage' }),
    )
  })
})
