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
  const { B, H, K, S, T, d, e, start } = sizes
  const query = numbersOf(inputs.query)
  const key = numbersOf(inputs.key)
  const value = numbersOf(inputs.value)
  const lengths = inputs.keyLengths && numbersOf(inputs.keyLengths)
  const bias = biasReader(inputs.bias)
  const scale = attributes.scale || 1 / Math.sqrt(d)
  const output = new Float64Array(B * H * S * e)
  const logSumExp = new Float64Array(B * H * S).fill(Number.NEGATIVE_INFINITY)
  for (let b = 0; b < B; b++)
    for (let h = 0; h < H; h++) {
      const keyHead = b * K + Math.floor((h * K) / H)
      const length = Math.min(T, lengths?.[b] ?? T)
      for (let s = 0; s < S; s++) {
        const position = start + s
        const keys: number[] = []
        for (const block of kept(b, h, Math.floor(position / attributes.queryBlock)))
          for (let t = block * attributes.keyBlock; t < (block + 1) * attributes.keyBlock; t++)
            if (t >= 0 && t < length && isVisible(position, t, attributes)) keys.push(t)
        const row = (b * H + h) * S + s
        const scores = keys.map((t) => {
          let score = 0
          for (let i = 0; i < d; i++)
            score += (query[row * d + i] ?? 0) * (key[(keyHead * T + t) * d + i] ?? 0)
          score *= scale
          if (attributes.softcap) score = attributes.softcap * Math.tanh(score / attributes.softcap)
          return score + bias(b, h, s, t)
        })
        const largest = scores.reduce((a, c) => Math.max(a, c), Number.NEGATIVE_INFINITY)
        if (largest === Number.NEGATIVE_INFINITY) continue
        const weights = scores.map((score) => Math.exp(score - largest))
        const sum = weights.reduce((a, c) => a + c, 0)
        logSumExp[row] = largest + Math.log(sum)
        for (const [index, t] of keys.entries())
          for (let i = 0; i < e; i++)
            output[row * e + i] =
              (output[row * e + i] ?? 0) +
              ((weights[index] ?? 0) / sum) * (value[(keyHead * T + t) * e + i] ?? 0)
      }
    }
  return { output, logSumExp }
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
