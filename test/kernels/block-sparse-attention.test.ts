import { describe, expect, it } from 'vitest'
import { blockSparseAttention } from '../../kernels/block-sparse-attention/index.js'
import { denseLayout } from '../../kernels/block-sparse-attention/patterns.js'
import { numbersOf, type RuntimeTensor } from '../../src/onnx/numbers.js'
import { materialise } from '../../src/runtime/materialise.js'
import { openSession } from '../../src/runtime/session.js'
import {
  type AttentionCase,
  attentionCases,
  caseInputs,
  largestDifference,
  tolerance,
} from './cases.js'
import { oneNode } from './one-node.js'

const reference = (each: AttentionCase): readonly RuntimeTensor[] =>
  blockSparseAttention.reference(caseInputs(each), blockSparseAttention.attributes(each.attributes))

async function runBody(
  each: AttentionCase,
  options: Parameters<typeof oneNode>[1],
): Promise<RuntimeTensor[]> {
  const { model, feeds } = oneNode(each, options)
  const file = materialise(model)
  try {
    await using session = await openSession({ path: file.path, threads: 1 })
    return Object.values(await session.run(feeds))
  } finally {
    file.dispose()
  }
}

describe('the body of BlockSparseAttention', () => {
  // onnxruntime-node exchanges no bfloat16 tensors.
  const exchanged = attentionCases.filter(({ dataType }) => dataType !== 'bfloat16')
  it.each(exchanged)('equals the reference: $title', async (each) => {
    const [output] = await runBody(each, {})
    const [expected] = reference(each)
    const limit = tolerance[each.dataType ?? 'float32'] as number
    expect(
      largestDifference(numbersOf(output as RuntimeTensor), numbersOf(expected as RuntimeTensor)),
    ).toBeLessThan(limit * (each.spread ?? 1))
  })

  it.each([13, 18])('gives log-sum-exp at opset %i', async (opset) => {
    const each = attentionCases.find(({ title }) => title.startsWith('empty rows')) as AttentionCase
    const results = await runBody(each, { opset, outputs: 2 })
    for (const [index, expected] of reference(each).entries())
      expect(
        largestDifference(numbersOf(results[index] as RuntimeTensor), numbersOf(expected)),
      ).toBeLessThan(2e-6)
  })
})

describe('the reference of BlockSparseAttention', () => {
  it('is plain softmax attention when every block is kept', () => {
    const each: AttentionCase = {
      title: '',
      sizes: [1, 1, 1, 20, 20, 16, 16],
      attributes: { queryBlock: 16, keyBlock: 16 },
      layout: denseLayout({ queries: 20, keys: 20, queryBlock: 16, keyBlock: 16 }, false),
    }
    const [query, key, value] = caseInputs(each).map((input) => input && numbersOf(input)) as [
      Float32Array,
      Float32Array,
      Float32Array,
    ]
    const [output] = reference(each)
    const scores = Array.from({ length: 20 }, (_, t) => {
      let sum = 0
      for (let i = 0; i < 16; i++) sum += (query[7 * 16 + i] ?? 0) * (key[t * 16 + i] ?? 0)
      return Math.exp(sum / 4)
    })
    const total = scores.reduce((a, b) => a + b)
    const expected = scores.reduce(
      (sum, score, t) => sum + (score / total) * (value[t * 16 + 3] ?? 0),
      0,
    )
    expect(numbersOf(output as RuntimeTensor)[7 * 16 + 3]).toBeCloseTo(expected, 6)
  })
})
