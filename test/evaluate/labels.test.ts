/**
 * Labels that don't fit are named before anything runs: how many there are, what they hold, what
 * the model tells apart.
 */
import { describe, expect, test } from 'vitest'
import { numbersOfLabels } from '../../src/data/labels.js'
import { portsOf } from '../../src/data/open-data.js'
import { sliceArrays } from '../../src/data/slice-arrays.js'
import { chooseMetrics } from '../../src/evaluate/choose-metrics.js'
import { checkMetrics } from '../../src/evaluate/evaluate.js'
import { type RuntimeTensor, tensorOf } from '../../src/onnx/numbers.js'
import { chooseObjective } from '../../src/train/loss/objective.js'
import { build } from '../axes/builder.js'

const model = build((b) => {
  const y = b.op('MatMul', [b.input('x', ['batch', 2]), b.weight(2, 3)])
  b.declare(y, ['batch', 3])
  return y
})

/** Four samples, two a batch. */
const batchesOf = (extras: Record<string, RuntimeTensor>) =>
  sliceArrays({ x: tensorOf('float32', [4, 2], new Array(8).fill(1)), ...extras }, portsOf(model), {
    what: 'data.npz',
    batchSize: 2,
  })

const floats = (dims: number[], values: number[]) => tensorOf('float32', dims, values)

describe('labels are refused', () => {
  test.each<[string, Record<string, RuntimeTensor>, string, RegExp]>([
    ['of another count', { labels: floats([3], [0, 1, 2]) }, 'INPUT_SHAPE', /\[3\].*"x" has 4/],
    ['that are a single number', { labels: floats([], [1]) }, 'INPUT_SHAPE', /is \[\], "x" has 4/],
    ['of a class too many', { labels: floats([4], [0, 1, 2, 3]) }, 'LABEL_RANGE', /3.*0 to 2/],
    ['below zero', { labels: floats([4], [0, 1, 2, -1]) }, 'LABEL_RANGE', /-1.*0 to 2/],
    ['between classes', { labels: floats([4], [0.5, 1, 2, 0]) }, 'LABEL_RANGE', /0\.5.*3 classes/],
    ['that are NaN', { labels: floats([4], [0, 1, 2, Number.NaN]) }, 'LABEL_RANGE', /NaN/],
    [
      'of several numbers a row',
      { labels: floats([4, 3], [1, 0, 0, 1, 0, 0, 1, 0, 0, 1, 0, 0]) },
      'NO_LABELS',
      /\[2,3\], 3 numbers a row/,
    ],
  ])('%s', (_, extras, code, message) => {
    const refusal = expect.objectContaining({ code, message: expect.stringMatching(message) })
    const look = { metrics: ['accuracy'] as const, hasReference: false }
    expect(() => checkMetrics(model, { batches: batchesOf(extras), ...look })).toThrow(refusal)
    expect(() => chooseObjective(model, batchesOf(extras))).toThrow(refusal)
  })

  test('where they have another name, which is named', () => {
    const batches = batchesOf({ label: floats([4], [0, 1, 2, 0]) })
    const choice = { batches, asked: [], conditions: [], hasReference: false }
    expect(() => chooseMetrics(model, choice)).toThrow(
      expect.objectContaining({
        code: 'NO_LABELS',
        message: expect.stringContaining('"label" beside its inputs ("x")'),
      }),
    )
  })
})

test('labels that fit are read in one column or none', () => {
  for (const dims of [[4], [4, 1]]) {
    const batches = batchesOf({ labels: floats(dims, [0, 1, 2, 0]) })
    checkMetrics(model, { batches, metrics: ['accuracy'], hasReference: false })
    expect(batches.flatMap(({ extras }) => numbersOfLabels(extras?.['labels'] as never))).toEqual([
      0, 1, 2, 0,
    ])
  }
})

test('hidden states are not taken for scores of tokens', () => {
  const encoder = build((b) => {
    const ids = b.input('ids', ['batch', 'length'], 'int64')
    const states = b.op('Gather', [b.weight(9, 4), ids])
    b.declare(states, ['batch', 'length', 4])
    return states
  })
  const checkOf = (ids: number[]) => () => {
    const feeds = { ids: tensorOf('int64', [1, ids.length], ids) }
    const batches = [{ feeds, ids: [ids], tokenMask: undefined }]
    checkMetrics(encoder, { batches, metrics: ['perplexity'], hasReference: false })
  }
  expect(checkOf([3, 8, 1])).toThrow(expect.objectContaining({ code: 'NO_LOGITS' }))
  expect(checkOf([3, 0, 1])).not.toThrow()
})
