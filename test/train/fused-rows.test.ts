/**
 * A step whose work along rows is put together (here by the bodies of its row programs): the loss
 * and the gradient of all weights stay what they were, over models of many exporters and kinds. All
 * of the zoo with ATTNC_FULL=1.
 */
import { readdirSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { cosine, step, zoo } from './one-step.js'

const sample = ['bert-ts', 'llama-ts', 'gemma2-ts', 'gpt2-ts', 'vit-ts', 't5-ts', 'gpt-neox-ts']

const names = process.env['ATTNC_FULL']
  ? readdirSync(zoo ?? '').filter((name) => !/\.|-(int8|nbits|qdq)$/.test(name))
  : sample

const method = { kind: 'full' } as const

describe.runIf(zoo)('a step with work along rows put together', () => {
  it.each(names)(
    '%s: loss and gradient as without',
    async (name) => {
      const plain = await step(name, method)
      const fused = await step(name, method, { fusesRowsFrom: 2 })
      expect(plain.rows).toBe(0)
      expect(fused.rows).toBeGreaterThan(0)
      expect(fused.loss / plain.loss).toBeCloseTo(1, 4)
      expect(cosine(plain.gradient, fused.gradient)).toBeGreaterThan(0.99999)
    },
    120_000,
  )

  it.each(process.env['ATTNC_FULL'] ? names : ['llama-ts'])(
    '%s: in half precision, with attention as one operator and sums that stop at the ends',
    async (name) => {
      const single = await step(name, method)
      const way = { precision: 'float16', hasKernel: () => true, fusesRowsFrom: 2 } as const
      const fused = await step(name, method, way)
      expect(fused.rows).toBeGreaterThan(0)
      expect(fused.loss / single.loss).toBeCloseTo(1, 1)
      expect(cosine(single.gradient, fused.gradient)).toBeGreaterThan(0.99)
    },
    120_000,
  )
})
