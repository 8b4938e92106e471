import { describe, expect, it } from 'vitest'
import { denseLayout } from '../../kernels/block-sparse-attention/patterns.js'
import { gatherBlockAttention } from '../../kernels/gather-block-attention/index.js'
import { numbersOf, type RuntimeTensor } from '../../src/onnx/numbers.js'
import { type AttentionCase, attentionCases, caseInputs, gatherNode, sparseNode } from './cases.js'
import { expectEqual } from './difference.js'
import { runBody, runReference } from './one-node.js'

// onnxruntime-node exchanges no bfloat16 tensors.
const exchanged = attentionCases.filter(({ dataType }) => dataType !== 'bfloat16')

describe.each([
  ['BlockSparseAttention', sparseNode],
  ['GatherBlockAttention', gatherNode],
] as const)('the body of %s', (_name, nodeOf) => {
  it.each(exchanged)('equals the reference: $title', async (each) => {
    expectEqual(await runBody(nodeOf(each)), runReference(nodeOf(each)), each)
  })

  it.each([13, 18])('gives log-sum-exp at opset %i', async (opset) => {
    const each = attentionCases.find(({ title }) => title.startsWith('empty rows')) as AttentionCase
    const results = await runBody({ ...nodeOf(each), opset, outputs: 2 })
    expect(results).toHaveLength(2)
    expectEqual(results, runReference(nodeOf(each)), each)
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
    const [output] = runReference(sparseNode(each))
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

describe('GatherBlockAttention', () => {
  const each = attentionCases.find(({ title }) => title.startsWith('one query at')) as AttentionCase
  const node = gatherNode(each)

  it.each<[string, RuntimeTensor, RegExp]>([
    [
      'a table for another batch',
      { dataType: 'int32', dims: [1, 1, 1, 2], data: new Int32Array(2) },
      /"block_indices" is int32 \[1,1,1,2\]; expected int32 \[2, any, any, 1 or more\]/,
    ],
    [
      'a table without rows',
      { dataType: 'int32', dims: [2, 1, 0, 2], data: new Int32Array() },
      /expected 1 or more blocks of 16 queries/,
    ],
    [
      '3 selections for 8 heads',
      { dataType: 'int32', dims: [2, 3, 1, 1], data: new Int32Array(6) },
      /"block_indices" has 3 layouts for 8 query and 2 key-value heads/,
    ],
  ])('refuses %s', (_what, table, message) => {
    const inputs = [...node.inputs.slice(0, 3), table]
    expect(gatherBlockAttention.canRun(inputs, gatherBlockAttention.attributes({}))).toMatchObject({
      ok: false,
    })
    expect(() => runReference({ ...node, inputs })).toThrow(message)
  })
})
