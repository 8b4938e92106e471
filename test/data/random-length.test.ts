/** Inputs by chance for models whose shapes don't say what they take. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { makeTokenBatch } from '../../src/data/batch.js'
import { areTokens, randomBatches } from '../../src/data/random.js'
import { findRandomLength } from '../../src/data/random-length.js'
import type { Value } from '../../src/graph/graph.js'
import { loadModel } from '../../src/model-folder/load.js'
import { type Builder, build } from '../axes/builder.js'
import { bytesOf } from '../zoo/compare.js'

/** Adds the first rows of a table of positions, as many as the input has. */
const withPositions =
  (rows: number) =>
  (b: Builder): Value => {
    const x = b.input('x', ['batch', 'sequence', 8])
    const length = b.op('Slice', [b.op('Shape', [x]), b.integers(1), b.integers(2)])
    const table = b.op('Slice', [b.weight(rows, 8), b.integers(0), length, b.integers(0)])
    return b.op('Add', [x, table])
  }

/** Windows of a sound after the first 600 samples: none are left of a shorter one, and that is no error. */
const windows = (b: Builder): Value => {
  const x = b.input('x', ['batch', 'samples', 8])
  return b.op('Slice', [x, b.integers(600), b.integers(2 ** 30), b.integers(1)])
}

/** A pool of more rows than a little picture has left: the runtime gives one place of it. */
const pooled = (b: Builder): Value => {
  const x = b.input('x', ['batch', 3, 'height', 'width'])
  const strided = b.op('Conv', [x, b.weight(4, 3, 1, 1)], { strides: [16, 4] })
  const pool = b.op('AveragePool', [strided], { kernel_shape: [15, 1], strides: [15, 1] })
  return b.op('ReduceMean', [pool, b.integers(2)])
}

it.each([
  ['a pool of fifteen rows of sixteen', pooled, 256],
  ['a table of 20 positions', withPositions(20), 16],
  ['a table of 512 positions', withPositions(512), 128],
  ['what says nothing of shorter ones', windows, 2048],
])('%s takes as many', async (_, write, expected) => {
  const folder = mkdtempSync(join(tmpdir(), 'attnc-test-'))
  try {
    writeFileSync(join(folder, 'model.onnx'), bytesOf(build(write)))
    expect(await findRandomLength(loadModel(folder), undefined)).toBe(expected)
  } finally {
    rmSync(folder, { recursive: true })
  }
})

it('features of pairs are no cache beside tokens', () => {
  const ids = { name: 'ids', dataType: 'int64', dims: ['batch', 'nodes'] } as const
  const port = (dims: (string | number)[]) =>
    ({ name: 'other', dataType: 'float32', dims }) as const
  expect(areTokens([ids, port(['batch', 4, 'past', 8])])).toBe(true)
  expect(areTokens([ids, port(['batch', 'nodes', 'nodes', 5])])).toBe(false)
})

it('inputs of tokens with fixed lengths of their own get rows of that length', () => {
  const port = (name: string, length: number) =>
    ({ name, dataType: 'int64', dims: ['batch', length] }) as const
  const ports = [port('input_ids', 4), port('decoder_input_ids', 2), port('decoder_mask', 3)]
  const { feeds, tokenMasks } = makeTokenBatch([[5, 6, 7], [8]], ports)
  const rows = (name: string) => [...(feeds[name]?.data ?? [])].map(Number)
  expect(rows('input_ids')).toEqual([5, 6, 7, 0, 8, 0, 0, 0])
  expect(rows('decoder_input_ids')).toEqual([5, 6, 8, 0])
  expect(rows('decoder_mask')).toEqual([1, 1, 1, 1, 0, 0])
  expect([...(tokenMasks?.['decoder_input_ids']?.data ?? [])]).toEqual([1, 1, 1, 0])
})

it('caches beside embeddings are empty, and pictures beside features are not', () => {
  const port = (name: string, ...dims: (string | number)[]) =>
    ({ name, dataType: 'float32', dims }) as const
  const embeddings = port('inputs_embeds', 'batch', 'sequence', 16)
  const caches = ['key', 'value'].map((name) => port(name, 'batch', 2, 'past', 8))
  const sizes = { sequenceLength: 5, batchSize: 3, samples: 3, seed: 1 }
  const [batch] = randomBatches({ inputs: [embeddings, ...caches], ...sizes })
  expect(Object.values(batch?.feeds ?? {}).map(({ dims }) => dims)).toEqual([
    [3, 5, 16],
    [3, 2, 0, 8],
    [3, 2, 0, 8],
  ])
  const pictures = ['left', 'right'].map((name) => port(name, 'batch', 1, 'frames', 8))
  const [pair] = randomBatches({ inputs: pictures, ...sizes })
  expect(Object.values(pair?.feeds ?? {}).map(({ dims }) => dims[2])).toEqual([5, 5])
})
