import { describe, expect, it } from 'vitest'
import type { BlockAttentionAttributes } from '../../kernels/block-attention/attributes.js'
import { canRunOnCuda } from '../../kernels/block-sparse-attention-gradient/can-run.js'
import { blockSparseAttentionGradient } from '../../kernels/block-sparse-attention-gradient/index.js'
import { type RuntimeTensor, tensorOf } from '../../src/onnx/numbers.js'
import { type AttentionCase, attentionCases, numbers, sparseNode } from './cases.js'
import { expectEqual } from './difference.js'
import { type OneNode, runBody, runReference } from './one-node.js'

// onnxruntime-node exchanges no bfloat16 tensors.
const exchanged = attentionCases.filter(({ dataType }) => dataType !== 'bfloat16')

/** The case's backward pass for a random gradient. */
function gradientNode(each: AttentionCase): OneNode<BlockAttentionAttributes> {
  const forward = sparseNode(each)
  const [output, logSumExp] = runReference({ ...forward, outputs: 2 }) as [
    RuntimeTensor,
    RuntimeTensor,
  ]
  const gradient = tensorOf(output.dataType, output.dims, numbers(output.data.length, 9))
  const { inputs, attributes } = forward
  return {
    kernel: blockSparseAttentionGradient,
    inputs: [...inputs.slice(0, 5), output, logSumExp, gradient, ...inputs.slice(5)],
    attributes,
  }
}

describe('the body of BlockSparseAttentionGradient', () => {
  it.each(exchanged)('equals the reference: $title', async (each) => {
    const node = gradientNode(each)
    expectEqual(await runBody(node), runReference(node), each)
  })

  it.each([13, 18])('runs at opset %i', async (opset) => {
    const each = attentionCases.find(({ title }) => /soft cap/.test(title)) as AttentionCase
    const node = gradientNode(each)
    expectEqual(await runBody({ ...node, opset }), runReference(node), each)
  })
})

describe('BlockSparseAttentionGradient', () => {
  const node = gradientNode(attentionCases[1] as AttentionCase)
  const { kernel } = node
  const attributes = kernel.attributes(node.attributes)

  it('refuses an output of other sizes', () => {
    const inputs = node.inputs.with(5, tensorOf('float32', [1, 2, 16, 32], new Float32Array(1024)))
    expect(() => kernel.infer(inputs, attributes)).toThrow(
      '"output" is float32 [1,2,16,32]; expected float32 [1,2,16,64].',
    )
  })

  it('refuses to do without a log-sum-exp', () => {
    expect(() => kernel.infer(node.inputs.with(6, undefined), attributes)).toThrow(
      '"log_sum_exp" is missing; expected float32 [1,2,16].',
    )
  })

  it('says which types and sizes have a kernel', () => {
    expect(kernel.canRun(node.inputs, attributes)).toMatchObject({
      reason: 'tensors are float32; expected float16 or bfloat16',
    })
    const half = node.inputs.map((each, index) =>
      each && index !== 6 && each.dataType === 'float32'
        ? { ...each, dataType: 'float16' as const }
        : each,
    )
    expect(kernel.canRun(half, attributes)).toEqual({ ok: true })
    const sized = (d: number, e: number) =>
      [d, d, e].map((size) => ({ dataType: 'float16' as const, dims: [Number.NaN, 2, 16, size] }))
    expect(canRunOnCuda(sized(128, 64))).toEqual({ ok: true })
    expect(canRunOnCuda(sized(64, 136))).toMatchObject({
      reason: 'head sizes are 64 and 136; the largest is 128',
    })
    expect(canRunOnCuda(sized(Number.NaN, 64)).ok).toBe(false)
  })
})
