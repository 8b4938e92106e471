/** The table of shapes, layouts and masks on which every form of an operator is compared. */
import type { BlockAttentionAttributes } from '../../kernels/block-attention/attributes.js'
import { blockSparseAttention } from '../../kernels/block-sparse-attention/index.js'
import {
  type BlockLayout,
  fromColumns,
  keptColumns,
  layoutTensors,
} from '../../kernels/block-sparse-attention/layout.js'
import {
  denseLayout,
  stridedLayout,
  windowLayout,
  withGlobalTokens,
} from '../../kernels/block-sparse-attention/patterns.js'
import { gatherBlockAttention } from '../../kernels/gather-block-attention/index.js'
import type { DataType } from '../../src/onnx/data-type.js'
import { fromConstant, type RuntimeTensor, tensorOf } from '../../src/onnx/numbers.js'
import { elementCount } from '../../src/onnx/tensor.js'
import type { OneNode } from './one-node.js'

export interface AttentionCase {
  readonly title: string
  /** batch, heads, key-value heads, queries, keys, head size, value head size */
  readonly sizes: readonly [number, number, number, number, number, number, number]
  readonly attributes: Partial<BlockAttentionAttributes>
  readonly layout: BlockLayout
  readonly keyLengths?: readonly number[]
  /** Leading sizes of the bias; `hides` makes some of it −∞. */
  readonly bias?: { readonly batch: number; readonly heads: number; readonly hides?: boolean }
  readonly dataType?: DataType
  /** Factor on the queries: large ones make scores far apart. */
  readonly spread?: number
}

const size = (queries: number, keys: number, queryBlock = 16, keyBlock = 16) => ({
  queries,
  keys,
  queryBlock,
  keyBlock,
})
const small = { queryBlock: 16, keyBlock: 16 }
const causal = { ...small, causal: true }

export const attentionCases: readonly AttentionCase[] = [
  {
    title: 'one query, one key',
    sizes: [1, 1, 1, 1, 1, 32, 32],
    attributes: small,
    layout: denseLayout(size(1, 1), false),
  },
  {
    title: 'one full block',
    sizes: [1, 2, 2, 16, 16, 64, 64],
    attributes: causal,
    layout: denseLayout(size(16, 16), true),
  },
  {
    title: 'dense, ragged, two batches',
    sizes: [2, 3, 3, 37, 37, 40, 40],
    attributes: small,
    layout: denseLayout(size(37, 37), false),
  },
  {
    title: 'causal, ragged, grouped queries 8:1, value size 48',
    sizes: [1, 8, 1, 70, 70, 32, 48],
    attributes: causal,
    layout: denseLayout(size(70, 70), true),
  },
  {
    title: 'window and sinks, grouped queries 4:2, blocks of 32',
    sizes: [2, 4, 2, 150, 150, 64, 64],
    attributes: { queryBlock: 32, keyBlock: 32, causal: true, window: 40, sinks: 3 },
    layout: windowLayout(size(150, 150, 32, 32), { window: 40, sinks: 3, causal: true }),
  },
  {
    title: 'a window to both sides, blocks of 64 × 32',
    sizes: [1, 2, 2, 130, 130, 32, 32],
    attributes: { queryBlock: 64, keyBlock: 32, window: 20, sinks: 1 },
    layout: windowLayout(size(130, 130, 64, 32), { window: 20, sinks: 1, causal: false }),
  },
  {
    title: 'a layout for every head, strided',
    sizes: [1, 4, 2, 100, 100, 32, 32],
    attributes: causal,
    layout: stridedLayout(size(100, 100), { heads: 4, localBlocks: 2, stride: 3 }),
  },
  {
    title: 'a layout for every two heads, global tokens',
    sizes: [1, 4, 4, 90, 90, 32, 32],
    attributes: small,
    layout: withGlobalTokens(
      fromColumns(
        [1, 2].map((reach) =>
          Array.from({ length: 6 }, (_, row) =>
            [0, 1, 2, 3, 4, 5].filter((c) => Math.abs(c - row) < reach),
          ),
        ),
      ),
      size(90, 90),
      { tokens: [0, 50], causal: false },
    ),
  },
  {
    title: 'more keys than queries, not at a block’s edge',
    sizes: [1, 2, 1, 21, 90, 64, 64],
    attributes: { ...causal, window: 30, sinks: 4 },
    layout: windowLayout(size(96, 96), { window: 30, sinks: 4, causal: true }),
  },
  {
    title: 'one query at the end of a cache, 8:2',
    sizes: [2, 8, 2, 1, 133, 64, 64],
    attributes: { ...causal, window: 50, sinks: 4 },
    layout: windowLayout(size(256, 256), { window: 50, sinks: 4, causal: true }),
  },
  {
    title: 'one query, three heads on one, in several parts, sizes of no whole vector',
    sizes: [1, 3, 1, 1, 700, 40, 72],
    attributes: { queryBlock: 64, keyBlock: 64, causal: true },
    layout: denseLayout(size(704, 704, 64, 64), true),
  },
  {
    title: 'one query, heads of seven on one, some blocks, a bias and a soft cap',
    sizes: [2, 14, 2, 1, 300, 32, 32],
    attributes: { ...causal, softcap: 3 },
    layout: fromColumns([Array.from({ length: 19 }, () => [1, 2, 5, 6, 7, 11, 18])]),
    bias: { batch: 1, heads: 14 },
  },
  {
    title: 'one query in half precision, a window that ends in a block of its sinks',
    sizes: [1, 5, 1, 1, 90, 64, 64],
    attributes: { queryBlock: 64, keyBlock: 64, causal: true, window: 60, sinks: 20 },
    layout: denseLayout(size(128, 128, 64, 64), true),
    dataType: 'float16',
  },
  {
    title: 'cross-attention: fewer queries than keys, from the first row',
    sizes: [1, 3, 3, 10, 75, 32, 64],
    attributes: small,
    layout: denseLayout(size(10, 75), false),
  },
  {
    title: 'a layout made for longer sequences',
    sizes: [1, 2, 2, 20, 20, 32, 32],
    attributes: small,
    layout: denseLayout(size(64, 64), false),
  },
  {
    title: 'empty rows and an empty layout',
    sizes: [1, 2, 2, 48, 48, 32, 32],
    attributes: small,
    layout: fromColumns([
      [[], [0, 2], []],
      [[], [], []],
    ]),
  },
  {
    title: 'columns out of order',
    sizes: [1, 1, 1, 32, 64, 32, 32],
    attributes: small,
    layout: fromColumns([
      [
        [3, 0, 2],
        [2, 1],
      ],
    ]),
  },
  {
    title: 'padding by key lengths, one of them zero',
    sizes: [3, 2, 1, 35, 35, 32, 32],
    attributes: causal,
    layout: denseLayout(size(35, 35), true),
    keyLengths: [35, 7, 0],
  },
  {
    title: 'a bias shared by heads, soft cap, own scale',
    sizes: [2, 4, 2, 40, 40, 32, 32],
    attributes: { ...causal, softcap: 5, scale: 0.3 },
    layout: denseLayout(size(40, 40), true),
    bias: { batch: 2, heads: 1 },
  },
  {
    title: 'a bias that hides keys and a whole row, per head',
    sizes: [1, 4, 2, 33, 50, 32, 32],
    attributes: small,
    layout: denseLayout(size(33, 50), false),
    bias: { batch: 1, heads: 4, hides: true },
  },
  {
    title: 'scores far apart',
    sizes: [1, 2, 2, 64, 64, 64, 64],
    attributes: causal,
    layout: denseLayout(size(64, 64), true),
    spread: 40,
  },
  {
    title: 'head size 256, blocks of 128',
    sizes: [1, 1, 1, 200, 200, 256, 256],
    attributes: { queryBlock: 128, keyBlock: 128, causal: true },
    layout: denseLayout(size(200, 200, 128, 128), true),
  },
  {
    title: 'half precision',
    sizes: [1, 4, 2, 50, 50, 64, 64],
    attributes: { ...causal, window: 20 },
    layout: windowLayout(size(50, 50), { window: 20, causal: true }),
    dataType: 'float16',
  },
  {
    title: 'bfloat16, one query',
    sizes: [1, 4, 2, 1, 50, 64, 64],
    attributes: causal,
    layout: denseLayout(size(64, 64), true),
    dataType: 'bfloat16',
  },
]

/** Numbers between −1 and 1 by a fixed rule: the same in every run. */
export function numbers(count: number, seed: number): Float64Array {
  let state = seed >>> 0
  return Float64Array.from({ length: count }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return state / 2 ** 31 - 1
  })
}

/** Inputs of the operator for a case, in its order. */
export function caseInputs(each: AttentionCase): (RuntimeTensor | undefined)[] {
  const [B, H, K, S, T, d, e] = each.sizes
  const type = each.dataType ?? 'float32'
  const random = (dims: readonly number[], seed: number, factor = 1): RuntimeTensor =>
    tensorOf(
      type,
      dims,
      numbers(elementCount(dims), seed).map((x) => x * factor),
    )
  const { rows, columns } = layoutTensors(each.layout)
  const lengths = each.keyLengths && tensorOf('int32', [B], each.keyLengths)
  return [
    random([B, H, S, d], 1, each.spread),
    random([B, K, T, d], 2),
    random([B, K, T, e], 3),
    fromConstant(rows),
    fromConstant(columns),
    lengths,
    each.bias && biasOf(each.bias, S, T, type),
  ]
}

export const sparseNode = (each: AttentionCase): OneNode<BlockAttentionAttributes> => ({
  kernel: blockSparseAttention,
  inputs: caseInputs(each),
  attributes: each.attributes,
})

/** The case's layout as a table; from the second batch on every row lacks its first block. */
export function gatherNode(each: AttentionCase): OneNode<BlockAttentionAttributes> {
  const { layout, attributes: given } = each
  const [query, key, value, , , keyLengths, bias] = caseInputs(each)
  const [B, , , S, T] = each.sizes
  const { queryBlock, queryStart } = gatherBlockAttention.attributes(given)
  const start = queryStart < 0 ? T - S : queryStart
  const first = Math.floor(start / queryBlock)
  const R = Math.ceil((start + S) / queryBlock) - first
  const kept = Array.from({ length: B }, (_batch, b) =>
    layout.rows.map((_rows, index) =>
      Array.from({ length: R }, (_row, r) => [
        ...keptColumns(layout, index, first + r).slice(b > 0 ? 1 : 0),
      ]),
    ),
  )
  const c = Math.max(1, ...kept.flat(2).map(({ length }) => length))
  const padded = kept.flat(2).flatMap((row) => Array.from({ length: c }, (_, i) => row[i] ?? -1))
  const indices = tensorOf('int32', [B, layout.rows.length, R, c], padded)
  return {
    kernel: gatherBlockAttention,
    inputs: [query, key, value, indices, keyLengths, bias],
    attributes: given,
  }
}

function biasOf(
  { batch, heads, hides }: NonNullable<AttentionCase['bias']>,
  S: number,
  T: number,
  type: DataType,
): RuntimeTensor {
  const values = numbers(batch * heads * S * T, 4)
  if (hides)
    for (let index = 0; index < values.length; index++) {
      const row = Math.floor(index / T) % S
      if (row === 5 || index % 3 === 0) values[index] = Number.NEGATIVE_INFINITY
    }
  return tensorOf(type, [batch, heads, S, T], values)
}

/** Largest difference from the reference that a type may show; sums are kept in float32. */
export const tolerance: Readonly<Partial<Record<DataType, number>>> = {
  float32: 2e-6,
  float16: 1e-3,
  bfloat16: 8e-3,
}
