/**
 * A step whose work along rows is put together (here by the bodies of its row programs): the loss and the gradient of all
 * weights stay what they were, over models of many exporters and kinds. All of the zoo with ATTNC_FULL=1.
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

  it('in half precision, with attention as one operator', async () => {
    const way = { precision: 'float16', hasKernel: () => true } as const
    const plain = await step('llama-ts', method, way)
    const fused = await step('llama-ts', method, { ...way, fusesRowsFrom: 2 })
    expect(fused.rows).toBeGreaterThan(0)
    expect(fused.loss / plain.loss).toBeCloseTo(1, 2)
    expect(cosine(plain.gradient, fused.gradient)).toBeGreaterThan(0.999)
  })
})
