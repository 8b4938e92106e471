/**
 * The operators that attend to blocks: they differ in the inputs that say which blocks are kept, and in
 * nothing else. Query [B, H, S, d], key [B, K, T, d], value [B, K, T, e]: heads before tokens, as
 * caches are stored and so that a block is one piece of memory.
 */
import type { Value } from '../../src/graph/graph.js'
import { type RuntimeTensor, tensorOf } from '../../src/onnx/numbers.js'
import type { BodyBuilder } from '../body-builder.js'
import { type Kernel, type KernelPort, type KernelType, kernelError } from '../kernel.js'
import {
  type AttentionSizes,
  type BlockAttentionAttributes,
  checkAttributes,
  checkMasks,
  decodeAttributes,
  encodeAttributes,
  readSizes,
} from './attributes.js'
import { attentionBody } from './body.js'
import type { GatheredBlocks, RowSpan } from './body-blocks.js'
import { canStore } from './can-run.js'
import { type KeptBlocks, referenceAttention } from './reference.js'

/** Where an operator's kept blocks come from. */
export interface BlockSource {
  readonly name: string
  /** The inputs that say so; after query, key and value. */
  readonly inputs: readonly KernelPort[]
  /** Refuses inputs of other types and sizes. */
  check(
    blocks: readonly (KernelType | undefined)[],
    sizes: AttentionSizes,
    attributes: BlockAttentionAttributes,
  ): void
  /** Refuses wrong contents, and reads the blocks. */
  kept(
    blocks: readonly RuntimeTensor[],
    sizes: AttentionSizes,
    attributes: BlockAttentionAttributes,
  ): KeptBlocks
  choose(build: BodyBuilder, blocks: readonly Value[]): (rows: RowSpan) => GatheredBlocks
}

export function blockAttention(source: BlockSource): Kernel<BlockAttentionAttributes> {
  const { name } = source
  const given = 3 + source.inputs.length
  /** Query, key and value; the source's own; key lengths and bias. */
  const apart = <T>(inputs: readonly (T | undefined)[]) => {
    const [query, key, value] = inputs
    const blocks = inputs.slice(3, given)
    const [keyLengths, bias] = inputs.slice(given)
    const isWhole = blocks.length === source.inputs.length && !blocks.includes(undefined)
    if (!query || !key || !value || !isWhole)
      throw kernelError('KERNEL_INPUT', name, `the first ${given} inputs are needed.`)
    return { masks: { query, key, value, keyLengths, bias }, blocks: blocks as T[] }
  }
  const check = (
    inputs: readonly (KernelType | undefined)[],
    attributes: BlockAttentionAttributes,
  ): AttentionSizes => {
    const sizes = readSizes(name, inputs, attributes)
    source.check(inputs.slice(3, given), sizes, attributes)
    checkMasks(name, inputs[given], inputs[given + 1], sizes)
    return sizes
  }
  return {
    name,
    version: 1,
    inputs: [
      { name: 'query', shape: '[B, H, S, d]' },
      { name: 'key', shape: '[B, K, T, d]' },
      { name: 'value', shape: '[B, K, T, e]' },
      ...source.inputs,
      { name: 'key_lengths', shape: '[B]', type: 'int32', isOptional: true },
      { name: 'bias', shape: '[1 or B, 1 or H, S, T]', isOptional: true },
    ],
    outputs: [
      { name: 'output', shape: '[B, H, S, e]' },
      { name: 'log_sum_exp', shape: '[B, H, S]', type: 'float32', isOptional: true },
    ],
    attributes: (attributes) => checkAttributes(name, attributes),
    encode: encodeAttributes,
    decode: decodeAttributes,
    infer(inputs, attributes) {
      const { B, H, S, e } = check(inputs, attributes)
      const dataType = (inputs[0] as KernelType).dataType
      return [
        { dataType, dims: [B, H, S, e] },
        { dataType: 'float32', dims: [B, H, S] },
      ]
    },
    reference(inputs, attributes) {
      const sizes = check(inputs, attributes)
      const { masks, blocks } = apart(inputs)
      const kept = source.kept(blocks, sizes, attributes)
      const { output, logSumExp } = referenceAttention(masks, sizes, attributes, kept)
      const { B, H, S, e } = sizes
      return [
        tensorOf(masks.query.dataType, [B, H, S, e], output),
        tensorOf('float32', [B, H, S], logSumExp),
      ]
    },
    body(build, inputs, attributes, outputs) {
      const { masks, blocks } = apart(inputs)
      return attentionBody(build, masks, attributes, source.choose(build, blocks), outputs > 1)
    },
    canRun: (inputs, attributes) => canStore(() => check(inputs, attributes), inputs),
  }
}
