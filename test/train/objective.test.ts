/** What answers are counted by. */
import { expect, it } from 'vitest'
import { makeTokenBatch } from '../../src/data/batch.js'
import { checkMetrics, defaultMetric } from '../../src/evaluate/evaluate.js'
import type { Value } from '../../src/graph/graph.js'
import { chooseObjective } from '../../src/train/loss/objective.js'
import { build } from '../axes/builder.js'

it('a picture of a size that shows only while running is answered by sample, not by the tokens beside it', () => {
  const S = 12
  const model = build((b) => {
    const ids = b.input('ids', ['batch', S], 'int64')
    const shape = b.input('shape', [3], 'int64')
    const words = b.op('Gather', [b.weight(50, 4), ids], { axis: 0 })
    const picture = b.reshape(words, 0, -1)
    const result = b.op('Reshape', [b.linear(picture, S * 4, 64), shape])
    b.declare(result, ['rows', 8, 8])
    return result
  })
  const ids = [0, 1].map((row) => Array.from({ length: S }, (_, i) => (row * 20 + i) % 50))
  const port = { name: 'ids', dims: ['batch', S], dataType: 'int64' } as const
  const batch = makeTokenBatch(ids, [port])
  expect(chooseObjective(model, [batch], true)).toMatchObject({
    kind: 'teacher',
    counts: 'samples',
  })
})

it('answers whose steps of time come before samples are counted by numbers', () => {
  const model = build((b) => {
    const sound = b.input('sound', ['batch', 'time', 4])
    const steps = [0, 2 ** 30, 1, 2].map((each) => b.integers(each))
    const every = b.op('Slice', [b.linear(sound, 4, 6), ...steps])
    const answers = b.op('Transpose', [every], { perm: [1, 0, 2] })
    b.declare(answers, ['steps', 'batch', 6])
    return answers
  })
  const batch = { feeds: {}, tokenMask: undefined, ids: [] }
  expect(chooseObjective(model, [batch], true)).toMatchObject({
    kind: 'teacher',
    counts: 'numbers',
  })
})

it('scores of a decoder’s tokens are no next tokens of an encoder’s text', () => {
  const model = build((b) => {
    const [source, target] = [
      b.input('source', [2, 9], 'int64'),
      b.input('target', [2, 7], 'int64'),
    ]
    const embed = (ids: Value): Value => b.op('Gather', [b.weight(50, 4), ids], { axis: 0 })
    const summary = b.op('ReduceMean', [embed(source), b.integers(1)], { keepdims: 1 })
    const scores = b.linear(b.op('Add', [embed(target), summary]), 4, 50)
    b.declare(scores, [2, 7, 50])
    return scores
  })
  const ids = [0, 1].map((row) => Array.from({ length: 9 }, (_, i) => (row * 20 + i) % 50))
  const ports = [{ name: 'source', dims: [2, 9], dataType: 'int64' }] as const
  const batches = [makeTokenBatch(ids, ports)]
  expect(chooseObjective(model, batches, true).kind).toBe('teacher')
  expect(defaultMetric(model, batches, true)).toBe('cosine')
  const needs = { batches, metrics: ['perplexity'] as const, hasReference: false }
  expect(() => checkMetrics(model, needs)).toThrow('has as many as another input')
})
