import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { evaluate } from '../../src/evaluate/evaluate.js'
import type { MetricName } from '../../src/evaluate/metric-name.js'
import { gains, hits, hitsWithin, ranksOf, rocAuc } from '../../src/evaluate/metrics.js'
import { perplexity } from '../../src/evaluate/perplexity.js'
import { importModel } from '../../src/graph/import.js'
import { silentLog } from '../../src/log.js'
import { tensorOf } from '../../src/onnx/numbers.js'
import { build } from '../axes/builder.js'
import { node, tensorMessage, valueInfo } from '../onnx/messages.js'

describe('metrics', () => {
  test('accuracy is the share of rows whose largest score is at the label', () => {
    expect(hits([0.1, 0.9, 0.8, 0.2, 0.4, 0.6], 2, [1, 0, 0])).toEqual([1, 1, 0])
    // The first of equal scores counts.
    expect(hits([1, 1], 2, [0])).toEqual([1])
  })

  test('ROC-AUC is the share of pairs in the right order, ties as halves', () => {
    expect(rocAuc([0.1, 0.4, 0.35, 0.8], [0, 0, 1, 1])).toBe(0.75)
    expect(rocAuc([1, 1, 1], [0, 1, 1])).toBe(0.5)
    expect(rocAuc([1, 2], [1, 1])).toBeNaN()
    expect(rocAuc([Number.NaN, 2], [1, 0])).toBeDefined()
    expect(rocAuc([1, 2, 3], [0, 1, 0], [1, 2, 3])).toBe(
      rocAuc([1, 2, 2, 3, 3, 3], [0, 1, 1, 0, 0, 0]),
    )
    const rows = fc.array(fc.tuple(fc.integer({ min: 0, max: 9 }), fc.integer({ min: 0, max: 1 })))
    const property = fc.property(rows, (all) => {
      const positives = all.filter(([, label]) => label === 1)
      const negatives = all.filter(([, label]) => label === 0)
      fc.pre(positives.length > 0 && negatives.length > 0)
      let right = 0
      for (const [p] of positives)
        for (const [n] of negatives) right += p > n ? 1 : p === n ? 0.5 : 0
      const found = rocAuc(
        all.map(([score]) => score),
        all.map(([, label]) => label),
      )
      expect(found).toBeCloseTo(right / (positives.length * negatives.length), 12)
    })
    fc.assert(property, { seed: 4 })
  })

  test('ranks, hit rate and NDCG are those of one right answer a row', () => {
    const ranks = ranksOf([3, 2, 1, 1, 2, 3, 5, 5, 1], 3, [0, 0, 1])
    expect(ranks).toEqual([1, 3, 1.5])
    expect(hitsWithin(ranks, 2)).toEqual([1, 0, 1])
    expect(gains(ranks, 2)).toEqual([1, 0, 1 / Math.log2(2.5)])
    expect(gains([1, 1], 10)).toEqual([1, 1])
  })
})

describe('perplexity', () => {
  /** Next-token logits that are a row of a table: [vocabulary, vocabulary]. */
  const bigram = (logits: readonly number[], size: number, opset: bigint) => {
    const tokens = valueInfo('ids', 'batch', 'sequence')
    return importModel(
      {
        ir_version: 6n,
        opset_import: [{ domain: '', version: opset }],
        graph: {
          name: 'bigram',
          node: [node('Gather', ['table', 'ids'], ['logits'])],
          initializer: [tensorMessage('table', [size, size], logits)],
          input: [
            { ...tokens, type: { tensor_type: { ...tokens.type.tensor_type, elem_type: 7 } } },
          ],
          output: [valueInfo('logits', 'batch', 'sequence', size)],
        },
      },
      {},
    )
  }
  const batch = (rows: number[][]) => {
    const length = Math.max(...rows.map((row) => row.length))
    const padded = rows.flatMap((row) => Array.from({ length }, (_, i) => row[i] ?? 0))
    const feeds = { ids: tensorOf('int64', [rows.length, length], padded) }
    return { feeds, ids: rows, tokenMask: undefined }
  }

  // Tables of log-probabilities; every opset that spells the reductions in another way.
  test.each([11n, 13n, 18n])('is exp of the mean loss of what follows, opset %s', async (opset) => {
    const p = [0.5, 0.25, 0.25, 0.1, 0.8, 0.1, 1 / 3, 1 / 3, 1 / 3]
    // Logits may be moved by any number.
    const logits = p.map((each, i) => Math.log(each) + Math.floor(i / 3) * 50)
    const rows = [
      [0, 1, 2],
      [1, 1],
    ]
    const { value, tokens } = await perplexity(bigram(logits, 3, opset), {
      batches: [batch(rows)],
      log: silentLog,
    })
    expect(tokens).toBe(3)
    // 0 → 1, 1 → 2, 1 → 1; padding and first tokens count nothing.
    expect(value).toBeCloseTo((0.25 * 0.1 * 0.8) ** (-1 / 3), 4)
  })

  test('of equal chances is the size of the vocabulary', async () => {
    const model = bigram(new Array(25).fill(3), 5, 17n)
    const { value } = await perplexity(model, { batches: [batch([[1, 2, 3, 4]])], log: silentLog })
    expect(value).toBeCloseTo(5, 5)
  })

  test('is refused of scores that are NaN, with where they begin', async () => {
    const model = bigram([0, 0, 0, 0, 0, 0, Number.NaN, 0, 0], 3, 17n)
    const data = [batch([[0, 1, 0]]), batch([[2, 1, 0]])]
    await expect(perplexity(model, { batches: data, log: silentLog })).rejects.toMatchObject({
      code: 'NOT_A_NUMBER',
      message: expect.stringContaining('Output "logits" is NaN after 2 tokens'),
    })
  })
})

const tokenOf = (dims: readonly number[]) =>
  tensorOf('int64', dims, new Array(dims.reduce((a, b) => a * b)).fill(1))

test.each<MetricName>(['accuracy', 'cosine'])('%s of what is NaN is refused', async (metric) => {
  const model = build((b) => {
    const x = b.input('x', ['batch', 2])
    const y = b.op('Sqrt', [x])
    b.declare(y, ['batch', 2])
    b.expose(y)
    return y
  })
  const feeds = { x: tensorOf('float32', [2, 2], [1, 4, -1, 4]) }
  const labels = tensorOf('int64', [2], [1, 1])
  const batches = [{ feeds, ids: [], tokenMask: undefined, extras: { labels } }]
  const metrics = [metric]
  await expect(
    evaluate(model, { batches, metrics, reference: model, log: silentLog }),
  ).rejects.toMatchObject({ code: 'NOT_A_NUMBER', oclif: { exit: 4 } })
})

test.each([
  ['features without tokens', {}],
  ['images beside a text of another length', { ids: tokenOf([2, 3]) }],
  ['the second of two texts', { ids: tokenOf([2, 3]), target: tokenOf([2, 2]) }],
])('cosine is taken of %s', async (_, more) => {
  const made = (sign: number) =>
    build((b) => {
      const x = b.input('x', ['batch', 'target' in more ? 'length' : 2, 4])
      const lengths = 'target' in more ? ['source', 'length'] : [3]
      for (const [index, name] of Object.keys(more).entries())
        b.input(name, ['batch', lengths[index] as number | string], 'int64')
      const y = b.op('Mul', [x, b.scalar(sign)])
      b.declare(y, ['batch', 2, 4])
      return y
    })
  const x = tensorOf(
    'float32',
    [2, 2, 4],
    Array.from({ length: 16 }, (_, i) => Math.sin(i) + 2),
  )
  const batches = [{ feeds: { x, ...more }, ids: [], tokenMask: undefined, extras: {} }]
  const cosineOf = async (sign: number) => {
    const options = { batches, metrics: ['cosine' as const], reference: made(1), log: silentLog }
    return (await evaluate(made(sign), options))[0]?.value
  }
  expect(await cosineOf(3)).toBeCloseTo(1, 5)
  expect(await cosineOf(-1)).toBeCloseTo(-1, 5)
})

test('roc-auc of one class is refused before anything runs', async () => {
  const model = build((b) => {
    const y = b.op('Sqrt', [b.input('x', ['batch', 1])])
    b.declare(y, ['batch', 1])
    return y
  })
  const batchOf = (labels: number[]) => ({
    feeds: { x: tensorOf('float32', [2, 1], [1, 4]) },
    ids: [],
    tokenMask: undefined,
    extras: { labels: tensorOf('int64', [2], labels) },
  })
  const areaOf = (...labels: number[][]) =>
    evaluate(model, { batches: labels.map(batchOf), metrics: ['roc-auc'], log: silentLog })
  await expect(areaOf([0, 0], [0, 0])).rejects.toMatchObject({
    code: 'ONE_CLASS',
    message: expect.stringContaining('of 4 labels, 0 are positive'),
  })
  await expect(areaOf([1, 1])).rejects.toMatchObject({ code: 'ONE_CLASS' })
  expect(await areaOf([0, 0], [0, 1])).toMatchObject([{ value: 5 / 6 }])
})
