/**
 * The backward pass of BlockSparseAttention: gradients of query, key and value, from the inputs,
 * what the forward pass gave and the gradient of its output. Probabilities are made again from the
 * log-sum-exp (Dao, "FlashAttention-2", 2023, algorithm 2), so nothing as large as the scores is
 * kept between the two. On CUDA it has a kernel; training on the processor runs the forward pass'
 * body backwards instead (src/gradients/own-backward.ts), which works on kept blocks only.
 */
import {
  type BlockAttentionAttributes,
  checkAttributes,
  decodeAttributes,
  encodeAttributes,
} from '../block-attention/attributes.js'
import { blockSparseAttention } from '../block-sparse-attention/index.js'
import { type Kernel, type KernelType, kernelError } from '../kernel.js'
import { gradientBody } from './body.js'
import { canRunOnCuda } from './can-run.js'
import { referenceGradient } from './reference.js'

const NAME = 'BlockSparseAttentionGradient'

/** Where the forward pass' inputs lie among these. */
const forwardInputs = [0, 1, 2, 3, 4, 8, 9]
const forwardOf = <T>(inputs: readonly (T | undefined)[]): (T | undefined)[] =>
  forwardInputs.map((index) => inputs[index])

const refuse = (message: string) => kernelError('KERNEL_INPUT', NAME, message)

/** What came of the forward pass: output, log-sum-exp, and the gradient of the output. */
function check(
  inputs: readonly (KernelType | undefined)[],
  attributes: BlockAttentionAttributes,
): void {
  const types = blockSparseAttention.infer(forwardOf(inputs), attributes)
  const [output, logSumExp] = types as [KernelType, KernelType]
  const expected = { output, log_sum_exp: logSumExp, output_gradient: output }
  for (const [index, [name, { dataType, dims }]] of Object.entries(expected).entries()) {
    const given = inputs[5 + index]
    if (given?.dataType !== dataType || String(given.dims) !== String(dims))
      throw refuse(
        `"${name}" is ${given ? `${given.dataType} [${given.dims}]` : 'missing'}; expected ${dataType} [${dims}].`,
      )
  }
}

export const blockSparseAttentionGradient: Kernel<BlockAttentionAttributes> = {
  name: NAME,
  version: 1,
  inputs: [
    ...blockSparseAttention.inputs.slice(0, 5),
    { name: 'output', shape: '[B, H, S, e]' },
    { name: 'log_sum_exp', shape: '[B, H, S]', type: 'float32' },
    { name: 'output_gradient', shape: '[B, H, S, e]' },
    ...blockSparseAttention.inputs.slice(5),
  ],
  outputs: [
    { name: 'query_gradient', shape: '[B, H, S, d]' },
    { name: 'key_gradient', shape: '[B, K, T, d]' },
    { name: 'value_gradient', shape: '[B, K, T, e]' },
    { name: 'row_sums', shape: '[B, H, S]: Σ output · output_gradient', type: 'float32' },
  ],
  attributes: (attributes) => checkAttributes(NAME, attributes),
  encode: encodeAttributes,
  decode: decodeAttributes,
  infer(inputs, attributes) {
    check(inputs, attributes)
    const [query, key, value] = inputs as [KernelType, KernelType, KernelType]
    const rowSums: KernelType = { dataType: 'float32', dims: query.dims.slice(0, 3) }
    return [query, key, value, rowSums].map(({ dataType, dims }) => ({ dataType, dims }))
  },
  reference(inputs, attributes) {
    check(inputs, attributes)
    return referenceGradient(inputs, attributes)
  },
  body: (build, inputs, attributes) => gradientBody(build, inputs, attributes),
  canRun(inputs, attributes) {
    const forward = blockSparseAttention.canRun(forwardOf(inputs), attributes)
    return forward.ok ? canRunOnCuda(inputs) : forward
  },
}
