/**
 * Chooses, while the model runs, the key blocks that each block of queries attends to: the indices of
 * GatherBlockAttention. Blocks are scored, scores become weights that sum to 1, and weights decide.
 */
import type { RuntimeTensor } from '../../src/onnx/numbers.js'
import { canStore } from '../block-attention/can-run.js'
import { type Kernel, type KernelType, kernelError } from '../kernel.js'
import {
  checkSelectAttributes,
  decodeSelectAttributes,
  encodeSelectAttributes,
  NAME,
  readSelectSizes,
  type SelectAttributes,
} from './attributes.js'
import { selectBody } from './body.js'
import { referenceSelect } from './reference.js'

export type { SelectAttributes } from './attributes.js'

export const blockSelect: Kernel<SelectAttributes> = {
  name: NAME,
  version: 1,
  inputs: [
    { name: 'query', shape: '[B, H, S, d]' },
    { name: 'key', shape: '[B, K, T, d]' },
    { name: 'key_lengths', shape: '[B]', type: 'int32', isOptional: true },
    { name: 'scores', shape: '[B, H, R, C]', type: 'float32', isOptional: true },
    { name: 'past_summary', shape: '[B, K, any, m, d]', type: 'float32', isOptional: true },
  ],
  outputs: [
    { name: 'block_indices', shape: '[B, L, R, c]', type: 'int32' },
    { name: 'key_summary', shape: '[B, K, C, m, d]', type: 'float32', isOptional: true },
  ],
  attributes: checkSelectAttributes,
  encode: encodeSelectAttributes,
  decode: decodeSelectAttributes,
  /** Without a count, how many blocks the fullest row keeps is known only when it ran: the most is given. */
  infer(inputs, attributes) {
    const { B, K, L, R, C, d, m } = readSelectSizes(inputs, attributes)
    return [
      { dataType: 'int32', dims: [B, L, R, Math.min(C, attributes.count || C)] },
      { dataType: 'float32', dims: [B, K, C, m, d] },
    ]
  },
  reference: (inputs, attributes) =>
    referenceSelect(
      named(inputs as readonly (RuntimeTensor | undefined)[]),
      readSelectSizes(inputs, attributes),
      attributes,
    ),
  body: (build, inputs, attributes, outputs) =>
    selectBody(build, named(inputs), attributes, outputs),
  canRun: (inputs, attributes) =>
    canStore(() => {
      const { d } = readSelectSizes(inputs as readonly (KernelType | undefined)[], attributes)
      return { d, e: d }
    }, inputs),
}

function named<T>(inputs: readonly (T | undefined)[]) {
  const [query, key, keyLengths, scores, summary] = inputs
  if (!query || !key) throw kernelError('KERNEL_INPUT', NAME, 'query and key are needed.')
  return { query, key, keyLengths, scores, summary }
}
