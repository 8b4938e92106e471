/**
 * A step whose attention is one operator, forward and backward (here by their bodies): the loss and the gradient of all
 * weights stay what they were, over models of many exporters. All of the zoo with ATTNC_FULL=1.
 */
import { readdirSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { cosine, step, zoo } from '../train/one-step.js'

/** Of which exporters and masks a block is found at all; others stay as they are. */
const sample = [
  'bert-ts',
  'llama-ts',
  'llama-dyn',
  'llama-op23',
  'gemma2-ts',
  'gpt2-ts',
  'vit-ts',
  'gpt-neox-ts',
]

const names = process.env['ATTNC_FULL']
  ? readdirSync(zoo ?? '').filter((name) => !/\.|-(int8|nbits|qdq)$/.test(name))
  : sample

const method = { kind: 'full' } as const
const hasKernel = (): boolean => true

describe.runIf(zoo)('a step with attention as one operator', () => {
  it.each(names)(
    '%s: loss and gradient as without',
    async (name) => {
      const plain = await step(name, method)
      const fused = await step(name, method, { hasKernel })
      const twice = await step(name, method, { hasKernel, isTwice: true })
      expect(plain.fused).toBe(0)
      if (sample.includes(name)) expect(fused.fused).toBeGreaterThan(0)
      for (const { loss, gradient } of [fused, twice]) {
        expect(loss / plain.loss).toBeCloseTo(1, 4)
        expect(cosine(plain.gradient, gradient)).toBeGreaterThan(0.99999)
      }
    },
    120_000,
  )
})
