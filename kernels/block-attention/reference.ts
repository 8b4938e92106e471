/**
 * Block attention in float64, one query after the other: the specification. A key counts when its
 * block is kept for the query's block and no mask hides it; a query that keeps nothing gives 0.
 */
import { numbersOf, type RuntimeTensor } from '../../src/onnx/numbers.js'
import type { AttentionSizes, BlockAttentionAttributes } from './attributes.js'

/** The key blocks that a block of queries keeps; blocks outside the keys are ignored. */
export type KeptBlocks = (batch: number, head: number, queryBlock: number) => Iterable<number>

export interface ReferenceInputs {
  readonly query: RuntimeTensor
  readonly key: RuntimeTensor
  readonly value: RuntimeTensor
  readonly keyLengths?: RuntimeTensor | undefined
  readonly bias?: RuntimeTensor | undefined
}

export interface ReferenceResult {
  /** [B, H, S, e] */
  readonly output: Float64Array
  /** [B, H, S]: log of the sum of exponentials; −∞ where nothing is kept. */
  readonly logSumExp: Float64Array
}

export function referenceAttention(
  inputs: ReferenceInputs,
  sizes: AttentionSizes,
  attributes: BlockAttentionAttributes,
  kept: KeptBlocks,
): ReferenceResult {
  const { B, H, S, e } = sizes
  const value = numbersOf(inputs.value)
  const seenBy = keysSeen(inputs, sizes, attributes, kept)
  const output = new Float64Array(B * H * S * e)
  const logSumExp = new Float64Array(B * H * S).fill(Number.NEGATIVE_INFINITY)
  for (let row = 0; row < B * H * S; row++) {
    const seen = seenBy(row)
    const largest = seen.reduce((a, { score }) => Math.max(a, score), Number.NEGATIVE_INFINITY)
    if (largest === Number.NEGATIVE_INFINITY) continue
    const weights = seen.map(({ score }) => Math.exp(score - largest))
    const sum = weights.reduce((a, c) => a + c, 0)
    logSumExp[row] = largest + Math.log(sum)
    for (const [index, { key }] of seen.entries())
      for (let i = 0; i < e; i++)
        output[row * e + i] =
          (output[row * e + i] ?? 0) + ((weights[index] ?? 0) / sum) * (value[key * e + i] ?? 0)
  }
  return { output, logSumExp }
}

export interface SeenKey {
  /** Row of key [B·K·T, d], and of value. */
  readonly key: number
  readonly score: number
  /** What the score changes by with the product of query and key. */
  readonly slope: number
}

/** The keys that a row of query [B·H·S, d] sees. */
export function keysSeen(
  inputs: ReferenceInputs,
  sizes: AttentionSizes,
  attributes: BlockAttentionAttributes,
  kept: KeptBlocks,
): (row: number) => SeenKey[] {
  const { H, K, S, T, d, start } = sizes
  const query = numbersOf(inputs.query)
  const keys = numbersOf(inputs.key)
  const lengths = inputs.keyLengths && numbersOf(inputs.keyLengths)
  const bias = biasReader(inputs.bias)
  const scale = attributes.scale || 1 / Math.sqrt(d)
  const { softcap, queryBlock, keyBlock } = attributes
  return (row) => {
    const s = row % S
    const h = Math.floor(row / S) % H
    const b = Math.floor(row / (S * H))
    const position = start + s
    const length = Math.min(T, lengths?.[b] ?? T)
    const seen: SeenKey[] = []
    for (const block of kept(b, h, Math.floor(position / queryBlock)))
      for (let t = block * keyBlock; t < (block + 1) * keyBlock; t++) {
        if (t < 0 || t >= length || !isVisible(position, t, attributes)) continue
        const key = (b * K + Math.floor((h * K) / H)) * T + t
        let product = 0
        for (let i = 0; i < d; i++) product += (query[row * d + i] ?? 0) * (keys[key * d + i] ?? 0)
        const bent = softcap ? Math.tanh((product * scale) / softcap) : 0
        const score = softcap ? softcap * bent : product * scale
        seen.push({ key, score: score + bias(b, h, s, t), slope: scale * (1 - bent * bent) })
      }
    return seen
  }
}

/** Causality, then the window, which lets the sinks through. */
export function isVisible(
  position: number,
  key: number,
  { causal, window, sinks }: Pick<BlockAttentionAttributes, 'causal' | 'window' | 'sinks'>,
): boolean {
  if (causal && key > position) return false
  return window === 0 || key < sinks || Math.abs(position - key) < window
}

function biasReader(bias: RuntimeTensor | undefined) {
  if (!bias) return () => 0
  const data = numbersOf(bias)
  const [b, h, S, T] = bias.dims as [number, number, number, number]
  return (batch: number, head: number, s: number, t: number): number =>
    data[(((b === 1 ? 0 : batch) * h + (h === 1 ? 0 : head)) * S + s) * T + t] ?? 0
}
