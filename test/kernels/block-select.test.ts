import { describe, expect, it } from 'vitest'
import { blockSelect } from '../../kernels/block-select/index.js'
import { gatherBlockAttention } from '../../kernels/gather-block-attention/index.js'
import { tensorOf } from '../../src/onnx/numbers.js'
import { expectEqual } from './difference.js'
import { runBody, runReference } from './one-node.js'
import { type SelectCase, selectCases, selectNode } from './select-cases.js'

describe('the body of BlockSelect', () => {
  // onnxruntime-node exchanges no bfloat16 tensors.
  it.each(selectCases.filter(({ dataType }) => dataType !== 'bfloat16'))(
    'equals the reference: $title',
    async (each) => {
      const node = selectNode(each)
      const [indices, ...summary] = await runBody(node)
      const [expected, ...expectedSummary] = runReference(node)
      expect(indices).toEqual(expected)
      expectEqual(summary, expectedSummary, each)
    },
  )
})

describe('the reference of BlockSelect', () => {
  const find = (title: string): SelectCase =>
    selectCases.find((each) => each.title.startsWith(title)) as SelectCase

  it('keeps what the attention needs: all mass is dense attention', () => {
    const node = selectNode(find('all mass'))
    const [indices] = runReference(node)
    const [query, key] = node.inputs
    const attend = (table: typeof indices) =>
      runReference({
        kernel: gatherBlockAttention,
        inputs: [query, key, key, table],
        attributes: { causal: true, queryBlock: 16, keyBlock: 16 },
      })
    const all = Array.from({ length: 6 * 6 }, (_, index) => index % 6)
    expect(attend(indices)).toEqual(attend(tensorOf('int32', [1, 1, 6, 6], all)))
  })

  it('bounds every score of a block by its minima and maxima', () => {
    const node = selectNode(find('minima and maxima, one query'))
    const [, summary] = runReference(node)
    const [query, key] = node.inputs.map((each) => each?.data as Float32Array)
    const bounds = summary?.data as Float32Array
    // Of the first head: 333 keys in blocks of 16.
    for (let t = 0; t < 333; t++) {
      let [product, bound] = [0, 0]
      for (let i = 0; i < 64; i++) {
        const q = query?.[i] ?? 0
        const at = Math.floor(t / 16) * 128 + i
        product += q * (key?.[t * 64 + i] ?? 0)
        bound += Math.max(q * (bounds[at] ?? 0), q * (bounds[at + 64] ?? 0))
      }
      expect(bound).toBeGreaterThanOrEqual(product)
    }
  })

  it.each([
    [{ count: 0 }, /"count" is 0; expected 1 or more/],
    [
      { count: 2, sinkBlocks: 1, localBlocks: 2 },
      /"count" is 2; expected 4 or more, since so many/,
    ],
    [{ select: 'mass', mass: 0 }, /"mass" is 0; expected more than 0/],
    [{ scorer: 'best' as 'mean', count: 1 }, /"scorer" is best; expected one of mean, minmax/],
  ] as const)('refuses attributes %o', (attributes, message) => {
    expect(() => blockSelect.attributes(attributes)).toThrow(message)
  })
})
