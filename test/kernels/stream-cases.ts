/** The table of caches and steps on which every form of StreamAttention is compared. */
import { expect } from 'vitest'
import { type StreamAttributes, streamAttention } from '../../kernels/stream-attention/index.js'
import type { DataType } from '../../src/onnx/data-type.js'
import { type RuntimeTensor, tensorOf, zeros } from '../../src/onnx/numbers.js'
import { elementCount } from '../../src/onnx/tensor.js'
import { numbers } from './cases.js'
import { expectEqual } from './difference.js'
import type { OneNode } from './one-node.js'

export interface StreamCase {
  readonly title: string
  /** batch, heads, key-value heads, head size, value head size */
  readonly sizes: readonly [number, number, number, number, number]
  readonly attributes: Partial<StreamAttributes> & { readonly window: number }
  /** New tokens of each step. */
  readonly steps: readonly number[]
  /** Tokens before the first one of the second batch that are padding. */
  readonly padding?: number
  /** Pairs that are turned back to compact positions. */
  readonly pairs?: number
  readonly dataType?: DataType
  readonly spread?: number
}

const ones = (count: number): number[] => Array.from({ length: count }, () => 1)

export const streamCases: readonly StreamCase[] = [
  {
    title: 'a window that slides, token by token',
    sizes: [1, 2, 2, 32, 32],
    attributes: { window: 4 },
    steps: ones(9),
  },
  {
    title: 'sinks and a window, a prompt longer than both, then tokens',
    sizes: [2, 4, 2, 64, 64],
    attributes: { window: 16, sinks: 3 },
    steps: [40, 1, 1, 7, 1],
  },
  {
    title: 'a prompt shorter than the sinks, grouped queries 8:1, value size 48',
    sizes: [1, 8, 1, 40, 48],
    attributes: { window: 5, sinks: 4 },
    steps: [2, 1, 3, 1, 1, 20, 1],
  },
  {
    title: 'nothing forgotten yet: all of a long window is empty',
    sizes: [1, 2, 1, 32, 32],
    attributes: { window: 200, sinks: 4 },
    steps: [3, 1, 1],
  },
  {
    title: 'padding before the second batch, and a batch of nothing else',
    sizes: [2, 2, 2, 16, 16],
    attributes: { window: 6, sinks: 2 },
    steps: [5, 4, 1, 9, 1],
    padding: 7,
  },
  {
    title: 'dense steps, then compressed',
    sizes: [1, 4, 2, 32, 32],
    attributes: { window: 8, sinks: 2, denseStep: true },
    steps: [30, 1, 12, 1],
  },
  {
    title: 'heavy hitters, soft cap, own scale',
    sizes: [2, 4, 2, 32, 32],
    attributes: { window: 6, sinks: 2, heavy: 5, softcap: 20, scale: 0.5 },
    steps: [4, 1, 1, 1, 1, 10, 1, 1, 1, 1, 25, 1, 1],
    spread: 4,
  },
  {
    title: 'heavy hitters after a dense prompt, padding',
    sizes: [2, 2, 1, 32, 32],
    attributes: { window: 8, heavy: 12, denseStep: true },
    steps: [50, 1, 1, 1, 1, 1],
    padding: 20,
    spread: 4,
  },
  {
    title: 'compact positions, half a head rotated',
    sizes: [2, 4, 2, 32, 32],
    attributes: { window: 8, sinks: 4 },
    steps: [20, 1, 1, 5, 1],
    pairs: 8,
    spread: 8,
  },
  {
    title: 'compact positions, neighbours rotated, a prompt shorter than the cache',
    sizes: [1, 2, 2, 16, 16],
    attributes: { window: 6, sinks: 3, rotaryInterleaved: true },
    steps: [5, ...ones(12)],
    pairs: 8,
    spread: 8,
  },
  {
    title: 'half precision',
    sizes: [1, 4, 2, 64, 64],
    attributes: { window: 20, sinks: 4, heavy: 4 },
    steps: [30, 1, 1],
    dataType: 'float16',
  },
  {
    title: 'bfloat16',
    sizes: [1, 4, 2, 64, 64],
    attributes: { window: 20, sinks: 4 },
    steps: [30, 1, 1],
    dataType: 'bfloat16',
  },
]

/** The operator's inputs at each step of a case; the reference carries the cache on. */
export function* streamSteps(each: StreamCase): Generator<{
  readonly node: OneNode<StreamAttributes>
  readonly expected: readonly RuntimeTensor[]
}> {
  const [B, H, K, d, e] = each.sizes
  const attributes = streamAttention.attributes(each.attributes)
  const { sinks, window, heavy } = attributes
  const C = sinks + window + heavy
  const type = each.dataType ?? 'float32'
  let seed = 0
  const random = (dims: readonly number[], factor = 1): RuntimeTensor =>
    tensorOf(
      type,
      dims,
      numbers(elementCount(dims), ++seed).map((x) => x * factor),
    )
  const frequencies =
    each.pairs &&
    tensorOf(
      'float32',
      [each.pairs],
      Array.from({ length: each.pairs }, (_, i) => 0.5 ** i),
    )
  let cache: readonly (RuntimeTensor | undefined)[] = [
    zeros(type, [B, K, C, d]),
    zeros(type, [B, K, C, e]),
    zeros('int64', [B, heavy > 0 ? K : 1, C]),
    heavy > 0 ? zeros('float32', [B, K, C]) : undefined,
  ]
  let seen = 0
  for (const S of each.steps) {
    const at = Array.from({ length: B * S }, (_, index) => {
      const skipped = index < S ? 0 : (each.padding ?? 0)
      return Math.max(-1, seen + (index % S) - skipped)
    })
    const node: OneNode<StreamAttributes> = {
      kernel: streamAttention,
      inputs: [
        random([B, H, S, d], each.spread),
        random([B, K, S, d]),
        random([B, K, S, e]),
        tensorOf('int64', [B, S], at),
        ...cache,
        frequencies || undefined,
      ],
      attributes,
      outputs: heavy > 0 ? 5 : 4,
      isLoose: true,
    }
    const expected = streamAttention.reference(node.inputs, attributes)
    yield { node, expected }
    cache = [expected[1], expected[2], expected[3], expected[4]]
    seen += S
  }
}

/** Holds every step's outputs, the cache included, against the reference. */
export async function expectSteps(
  each: StreamCase,
  run: (node: OneNode<StreamAttributes>) => Promise<readonly RuntimeTensor[]>,
): Promise<void> {
  for (const { node, expected } of streamSteps(each)) {
    const results = await run(node)
    expect(results).toHaveLength(expected.length)
    expectEqual(results, expected, each)
  }
}
