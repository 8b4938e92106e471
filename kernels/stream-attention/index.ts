/**
 * Attention while generating, over a cache whose size never changes: sinks, a window, and tokens that got much
 * attention. A cache of zeros is an empty one: slots hold 1 + the position of their token.
 */
import type { RuntimeTensor } from '../../src/onnx/numbers.js'
import { canStore } from '../block-attention/can-run.js'
import { type Kernel, type KernelType, kernelError } from '../kernel.js'
import {
  checkStreamAttributes,
  decodeStreamAttributes,
  encodeStreamAttributes,
  NAME,
  readStreamSizes,
  type StreamAttributes,
} from './attributes.js'
import { streamBody } from './body.js'
import { referenceStream } from './reference.js'

export type { StreamAttributes } from './attributes.js'

export const streamAttention: Kernel<StreamAttributes> = {
  name: NAME,
  version: 1,
  inputs: [
    { name: 'query', shape: '[B, H, S, d]' },
    { name: 'key', shape: '[B, K, S, d]' },
    { name: 'value', shape: '[B, K, S, e]' },
    { name: 'positions', shape: '[B, S]', type: 'int64' },
    { name: 'past_key', shape: '[B, K, C, d]' },
    { name: 'past_value', shape: '[B, K, C, e]' },
    { name: 'past_slots', shape: '[B, P, C]', type: 'int64' },
    { name: 'past_scores', shape: '[B, K, C]', type: 'float32', isOptional: true },
    { name: 'rotary_frequencies', shape: '[r/2]', type: 'float32', isOptional: true },
  ],
  outputs: [
    { name: 'output', shape: '[B, H, S, e]' },
    { name: 'present_key', shape: '[B, K, C, d]' },
    { name: 'present_value', shape: '[B, K, C, e]' },
    { name: 'present_slots', shape: '[B, P, C]', type: 'int64' },
    { name: 'present_scores', shape: '[B, K, C]', type: 'float32', isOptional: true },
  ],
  attributes: checkStreamAttributes,
  encode: encodeStreamAttributes,
  decode: decodeStreamAttributes,
  infer(inputs, attributes) {
    const { B, H, K, S, d, e, C, P } = readStreamSizes(inputs, attributes)
    const { dataType } = inputs[0] as KernelType
    return [
      { dataType, dims: [B, H, S, e] },
      { dataType, dims: [B, K, C, d] },
      { dataType, dims: [B, K, C, e] },
      { dataType: 'int64', dims: [B, P, C] },
      { dataType: 'float32', dims: [B, K, C] },
    ]
  },
  reference: (inputs, attributes) =>
    referenceStream(
      named(inputs),
      readStreamSizes(inputs as RuntimeTensor[], attributes),
      attributes,
    ),
  body: (build, inputs, attributes) => streamBody(build, named(inputs), attributes),
  canRun: (inputs, attributes) => canStore(() => readStreamSizes(inputs, attributes), inputs),
}

function named<T>(inputs: readonly (T | undefined)[]) {
  const [query, key, value, positions, pastKey, pastValue, slots, scores, frequencies] = inputs
  if (!query || !key || !value || !positions || !pastKey || !pastValue || !slots)
    throw kernelError('KERNEL_INPUT', NAME, 'the first seven inputs are needed.')
  return { query, key, value, positions, pastKey, pastValue, slots, scores, frequencies }
}
