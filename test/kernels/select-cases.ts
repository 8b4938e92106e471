/** The table of sizes, scorers and rules on which every form of BlockSelect is compared. */
import { blockSelect, type SelectAttributes } from '../../kernels/block-select/index.js'
import type { DataType } from '../../src/onnx/data-type.js'
import { type RuntimeTensor, tensorOf } from '../../src/onnx/numbers.js'
import { elementCount } from '../../src/onnx/tensor.js'
import { numbers } from './cases.js'
import type { OneNode } from './one-node.js'

export interface SelectCase {
  readonly title: string
  /** batch, heads, key-value heads, queries, keys, head size */
  readonly sizes: readonly [number, number, number, number, number, number]
  readonly attributes: Partial<SelectAttributes>
  readonly keyLengths?: readonly number[]
  /** Blocks of which an earlier step has left a summary. */
  readonly known?: number
  readonly dataType?: DataType
}

const small = { queryBlock: 16, keyBlock: 16 }
const causal = { ...small, causal: true }

export const selectCases: readonly SelectCase[] = [
  {
    title: 'the best 3 by means, for every key-value head',
    sizes: [1, 4, 2, 100, 100, 32],
    attributes: { ...causal, count: 3 },
  },
  {
    title: 'one query, one key',
    sizes: [1, 1, 1, 1, 1, 16],
    attributes: { ...causal, count: 1 },
  },
  {
    title: 'more asked for than there are, forced ones first, for every head',
    sizes: [2, 4, 2, 70, 70, 32],
    attributes: { ...causal, count: 9, sinkBlocks: 1, localBlocks: 2, selections: 4 },
  },
  {
    title: 'both sides, blocks of 48 × 32, one selection for all heads',
    sizes: [1, 2, 2, 130, 150, 40],
    attributes: { queryBlock: 48, keyBlock: 32, count: 4, localBlocks: 1, selections: 1 },
  },
  {
    title: 'minima and maxima, one query at the end of a cache, 8:2',
    sizes: [2, 8, 2, 1, 333, 64],
    attributes: { ...causal, scorer: 'minmax', count: 6, sinkBlocks: 1, localBlocks: 1 },
  },
  {
    title: 'minima and maxima of a cache, of which most are known',
    sizes: [1, 4, 2, 1, 333, 64],
    attributes: { ...causal, scorer: 'minmax', count: 6 },
    known: 20,
  },
  {
    title: 'means of which some are known, a prompt',
    sizes: [2, 2, 1, 40, 200, 32],
    attributes: { ...causal, count: 5 },
    known: 7,
  },
  {
    title: 'a summary of nothing',
    sizes: [1, 2, 1, 40, 40, 32],
    attributes: { ...causal, count: 2 },
    known: 0,
  },
  {
    title: 'by mass, as many as it takes',
    sizes: [2, 4, 2, 200, 200, 32],
    attributes: { ...causal, select: 'mass', mass: 0.6, localBlocks: 1, scale: 3 },
  },
  {
    title: 'by mass, at most 5, blocks of 16 × 64',
    sizes: [1, 2, 1, 300, 300, 32],
    attributes: { queryBlock: 16, keyBlock: 64, causal: true, select: 'mass', mass: 0.9, count: 5 },
  },
  {
    title: 'all mass: every block',
    sizes: [1, 2, 1, 90, 90, 32],
    attributes: { ...causal, select: 'mass', mass: 1 },
  },
  {
    title: 'by threshold, minima and maxima, padding, one length zero',
    sizes: [3, 2, 1, 90, 90, 32],
    attributes: { ...small, scorer: 'minmax', select: 'threshold', threshold: 0.2, sinkBlocks: 1 },
    keyLengths: [90, 37, 0],
  },
  {
    title: 'the last queries’ attention, by mass, for every head',
    sizes: [2, 4, 2, 150, 150, 32],
    attributes: {
      ...{ ...causal, scorer: 'last_query', select: 'mass', mass: 0.7 },
      ...{ localBlocks: 2, scale: 2, selections: 4 },
    },
  },
  {
    title: 'the last queries’ attention to both sides, T ≠ S, padding',
    sizes: [2, 2, 2, 10, 75, 32],
    attributes: { ...small, scorer: 'last_query', count: 2, scale: 1 },
    keyLengths: [75, 20],
  },
  {
    title: 'given scores, by threshold, at most 4',
    sizes: [1, 4, 2, 100, 100, 16],
    attributes: { ...causal, scorer: 'given', select: 'threshold', threshold: 0.1, count: 4 },
  },
  {
    title: 'half precision',
    sizes: [1, 4, 2, 100, 100, 64],
    attributes: { ...causal, count: 3 },
    dataType: 'float16',
  },
  {
    title: 'bfloat16, the last queries',
    sizes: [1, 4, 2, 100, 100, 64],
    attributes: { ...causal, count: 3, scorer: 'last_query', scale: 2 },
    dataType: 'bfloat16',
  },
]

export function selectNode(each: SelectCase): OneNode<SelectAttributes> {
  const [B, H, K, S, T, d] = each.sizes
  const attributes = blockSelect.attributes(each.attributes)
  const { queryBlock, keyBlock, queryStart, scorer } = attributes
  const type = each.dataType ?? 'float32'
  const random = (dims: readonly number[], seed: number, dataType: DataType = type) =>
    tensorOf(dataType, dims, numbers(elementCount(dims), seed))
  const start = queryStart < 0 ? T - S : queryStart
  const R = Math.ceil((start + S) / queryBlock) - Math.floor(start / queryBlock)
  const key = random([B, K, T, d], 2)
  const isSummed = scorer === 'mean' || scorer === 'minmax'
  const lengths = each.keyLengths && tensorOf('int32', [B], each.keyLengths)
  const query = random([B, H, S, d], 1)
  const node: OneNode<SelectAttributes> = {
    kernel: blockSelect,
    inputs: [
      query,
      key,
      lengths,
      scorer === 'given' ? random([B, H, R, Math.ceil(T / keyBlock)], 3, 'float32') : undefined,
    ],
    attributes,
    outputs: isSummed ? 2 : 1,
    isLoose: true,
  }
  if (each.known === undefined) return node
  // The summary of the keys that an earlier step had; half of its last block came since.
  const known = Math.max(0, each.known * keyBlock - keyBlock / 2)
  const m = scorer === 'minmax' ? 2 : 1
  const past = known
    ? summaryOf({ ...node, inputs: [firstTokens(query, 1), firstTokens(key, known)] })
    : tensorOf('float32', [B, K, 0, m, d], [])
  return { ...node, inputs: [...node.inputs, past] }
}

const summaryOf = ({ inputs, attributes }: OneNode<SelectAttributes>): RuntimeTensor =>
  blockSelect.reference(inputs, blockSelect.attributes(attributes))[1] as RuntimeTensor

/** The first tokens of [B, heads, tokens, size]. */
function firstTokens({ dataType, dims, data }: RuntimeTensor, count: number): RuntimeTensor {
  const [B, heads, tokens, size] = dims as [number, number, number, number]
  const kept = Float32Array.from({ length: B * heads * count * size }, (_, index) => {
    const row = Math.floor(index / (count * size))
    return Number(data[row * tokens * size + (index % (count * size))])
  })
  return tensorOf(dataType, [B, heads, count, size], kept)
}
