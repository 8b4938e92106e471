import { describe, expect, it } from 'vitest'
import { blockSparseAttention } from '../../kernels/block-sparse-attention/index.js'
import { layoutTensors } from '../../kernels/block-sparse-attention/layout.js'
import { denseLayout } from '../../kernels/block-sparse-attention/patterns.js'
import { streamAttention } from '../../kernels/stream-attention/index.js'
import { fromConstant, numbersOf, type RuntimeTensor, tensorOf } from '../../src/onnx/numbers.js'
import { largestDifference } from './largest-difference.js'
import { openBody, runReference } from './one-node.js'
import { expectSteps, type StreamCase, streamCases, streamSteps } from './stream-cases.js'

// onnxruntime-node exchanges no bfloat16 tensors.
const exchanged = streamCases.filter(({ dataType }) => dataType !== 'bfloat16')

const allSteps = (each: StreamCase) => [...streamSteps(each)]
const firstStep = (each: StreamCase) => allSteps(each)[0] as ReturnType<typeof allSteps>[number]
const lastStep = (each: StreamCase) => allSteps(each).at(-1) as ReturnType<typeof allSteps>[number]

describe('the body of StreamAttention', () => {
  it.each(exchanged)('equals the reference: $title', async (each) => {
    await using body = await openBody(firstStep(each).node)
    await expectSteps(each, (step) => body.run(step))
  })
})

/** Tokens [B, heads, S, size] of all steps, one after the other. */
function together(tensors: readonly RuntimeTensor[]): RuntimeTensor {
  const [B, heads, , size] = (tensors[0] as RuntimeTensor).dims as [number, number, number, number]
  const S = tensors.reduce((sum, { dims }) => sum + (dims[2] as number), 0)
  const data = new Float32Array(B * heads * S * size)
  let at = 0
  for (const tensor of tensors) {
    const numbers = numbersOf(tensor)
    const length = (tensor.dims[2] as number) * size
    for (let row = 0; row < B * heads; row++)
      data.set(numbers.subarray(row * length, (row + 1) * length), row * S * size + at)
    at += length
  }
  return tensorOf('float32', [B, heads, S, size], data)
}

describe('the reference of StreamAttention', () => {
  it.each(
    streamCases.filter(
      ({ attributes, padding, pairs, dataType }) =>
        !attributes.heavy && !attributes.denseStep && !padding && !pairs && !dataType,
    ),
  )('is attention to sinks and window over all tokens: $title', (each) => {
    const steps = allSteps(each)
    const [query, key, value] = [0, 1, 2].map((index) =>
      together(steps.map(({ node }) => node.inputs[index] as RuntimeTensor)),
    ) as [RuntimeTensor, RuntimeTensor, RuntimeTensor]
    const length = query.dims[2] as number
    const layout = denseLayout(
      { queries: length, keys: length, queryBlock: 16, keyBlock: 16 },
      true,
    )
    const { rows, columns } = layoutTensors(layout)
    const [expected] = runReference({
      kernel: blockSparseAttention,
      inputs: [query, key, value, fromConstant(rows), fromConstant(columns)],
      attributes: { ...each.attributes, causal: true, queryBlock: 16, keyBlock: 16 },
    })
    const output = together(steps.map(({ expected }) => expected[0] as RuntimeTensor))
    expect(largestDifference(numbersOf(output), numbersOf(expected as RuntimeTensor))).toBeLessThan(
      1e-6,
    )
  })

  it('holds what a slice of the full cache holds', () => {
    const each = streamCases[1] as StreamCase
    const steps = allSteps(each)
    const keys = numbersOf(together(steps.map(({ node }) => node.inputs[1] as RuntimeTensor)))
    const [, present, , slots] = lastStep(each).expected
    const held = numbersOf(slots as RuntimeTensor).subarray(0, 19)
    // 50 tokens came: the first 3 and the last 16 are left.
    const left = [0, 1, 2, ...Array.from({ length: 16 }, (_, i) => 34 + i)]
    expect([...held].map((slot) => slot - 1).toSorted((a, b) => a - b)).toEqual(left)
    for (const [slot, mark] of held.entries())
      expect([...numbersOf(present as RuntimeTensor).subarray(slot * 64, slot * 64 + 64)]).toEqual([
        ...keys.subarray((mark - 1) * 64, mark * 64),
      ])
  })

  it('gives every token’s attention to the tokens that are still there, or that left', () => {
    const each = streamCases.find(({ title }) => title.startsWith('heavy hitters, soft'))
    const { expected } = firstStep(each as StreamCase)
    const scores = expected[4]?.data as Float32Array
    // 4 queries of 2 heads, in 2 batches of 2 heads that share keys.
    expect(scores.reduce((a, b) => a + b, 0)).toBeCloseTo(4 * 2 * 2 * 2, 4)
  })
})

describe('StreamAttention', () => {
  const { node } = allSteps(streamCases[0] as StreamCase)[0] as {
    node: { inputs: readonly (RuntimeTensor | undefined)[] }
  }

  it.each([
    [{ window: 0 }, /"window" is 0; expected a whole number, 1 or more/],
    [{ window: 4, sinks: -1 }, /"sinks" is -1/],
  ])('refuses attributes %o', (attributes, message) => {
    expect(() => streamAttention.attributes(attributes)).toThrow(message)
  })

  it.each([
    [{ window: 5 }, /"past_key" is float32 \[1,2,4,32\]; expected float32 \[1,2,5,32\]/],
    [{ window: 3, heavy: 1 }, /"past_slots" is int64 \[1,1,4\]; expected int64 \[1,2,4\]/],
  ])('refuses a cache of another size: %o', (given, message) => {
    const attributes = streamAttention.attributes(given)
    expect(() => streamAttention.infer(node.inputs, attributes)).toThrow(message)
  })
})
