/**
 * A step whose work is done in half precision: the loss and the gradient of all weights are those of
 * single precision but for rounding, over models of many exporters.
 */
import { describe, expect, it } from 'vitest'
import type { Method } from '../../src/train/weights/trainable.js'
import { cosine, step, zoo } from './one-step.js'

const names = ['bert-fused', 'bart-ts', 'llama-gqa-packed', 'gpt2-ts', 'vit-op23', 'wav2vec2-ts']
const methods: readonly Method[] = [{ kind: 'full' }, { kind: 'lora', rank: 4, alpha: 8 }]

describe.runIf(zoo)('a step in half precision', () => {
  it.each(names.flatMap((name) => methods.map((method) => [name, method.kind, method] as const)))(
    '%s, %s: loss and gradient as in single precision',
    async (name, _, method) => {
      const single = await step(name, method)
      const half = await step(name, method, { precision: 'float16' })
      const twice = await step(name, method, { precision: 'float16', isTwice: true })
      expect(half.halves).toBeGreaterThan(0)
      expect(single.halves).toBe(0)
      expect(half.loss / single.loss).toBeCloseTo(1, 1)
      expect(cosine(single.gradient, half.gradient)).toBeGreaterThan(0.99)
      expect(cosine(half.gradient, twice.gradient)).toBeGreaterThan(0.999)
    },
    120_000,
  )
})
