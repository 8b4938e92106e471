/**
 * Whole models of many exporters: fused operators are written out without changing the loss, and the
 * gradients of weights equal differences. All of ../shared/models/zoo with ATTNC_FULL=1.
 */
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { sharedModel } from '../shared-models.js'
import { compareGradients } from './directional.js'

const zoo = sharedModel('zoo')

/** Every lowering, and the operators that only one kind of model has. */
const sample = [
  'bert-fused',
  'distilbert-fused',
  'bart-ts',
  'llama-gqa-packed',
  'llama-past-op23',
  'mixtral-dyn',
  'vit-op23',
  'wav2vec2-ts',
]

const isQuantised = (name: string): boolean => /-(int8|nbits|qdq)$/.test(name)

const names = (): string[] =>
  process.env['ATTNC_FULL']
    ? readdirSync(zoo ?? '').filter((name) => !name.includes('.') && !isQuantised(name))
    : sample

describe.runIf(zoo)('gradients of whole models equal differences along a direction', () => {
  it.each(
    (zoo ? names() : []).flatMap((name) => [
      [name, 'kept', false] as const,
      [name, 'computed twice', true] as const,
    ]),
  )(
    '%s, %s',
    async (name, _, isTwice) => {
      const { weights, losses } = await compareGradients(join(zoo ?? '', name), {
        seed: 1,
        count: 4,
        isTwice,
      })
      expect(weights).toHaveLength(4)
      expect(losses[0]).toBeCloseTo(losses[1], 4)
      for (const { weight, difference } of weights) expect(difference, weight).toBeLessThan(0.02)
    },
    120_000,
  )

  it.each([
    ['bert-int8', 'DynamicQuantizeLinear'],
    ['llama-nbits', 'MatMulNBits'],
  ])(
    '%s is refused by the name of its operator %s',
    async (name, op) => {
      const compared = compareGradients(join(zoo ?? '', name), { seed: 1, count: 4 })
      await expect(compared).rejects.toMatchObject({
        code: 'GRADIENT_RULE_MISSING',
        message: expect.stringContaining(op),
        suggestions: ['Train the model before it is quantised.'],
      })
    },
    120_000,
  )
})
