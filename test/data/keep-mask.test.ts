/** Numbers drawn for an input that hides keys are ones: normal numbers would push scores out of range. */
import { expect, it } from 'vitest'
import { isKeepMask } from '../../src/data/keep-mask.js'
import { sampleInputs } from '../../src/data/sample-inputs.js'
import type { Model, Value } from '../../src/graph/graph.js'
import { numbersOf, type RuntimeTensor } from '../../src/onnx/numbers.js'
import { type Builder, build } from '../axes/builder.js'
import { runModel } from '../zoo/compare.js'

const S = 6

const scores = (use: (b: Builder, mask: Value) => Value): Model =>
  build((b) => {
    const x = b.input('x', ['batch', S, S])
    const mask = b.input('mask', ['batch', S])
    const result = b.op('Softmax', [b.op('Add', [x, use(b, mask)])], { axis: -1 })
    b.declare(result, ['batch', S, S])
    return result
  })

const hidden = (b: Builder, mask: Value): Value => {
  const apart = b.op('Unsqueeze', [mask, b.integers(1)])
  return b.op('Mul', [b.op('Sub', [b.scalar(1), apart]), b.scalar(-3.4028234663852886e38)])
}

it('draws ones for what is taken from one and scaled far below, and the model answers', async () => {
  const model = scores(hidden)
  const { feeds } = sampleInputs(model, { vocabulary: undefined, seed: 1 })
  expect(new Set(numbersOf(feeds['mask'] as RuntimeTensor))).toEqual(new Set([1]))
  expect(new Set(numbersOf(feeds['x'] as RuntimeTensor)).size).toBeGreaterThan(S)
  const [answers] = await runModel(model, [feeds])
  const [answer] = Object.values(answers ?? {})
  expect([...numbersOf(answer as RuntimeTensor)].filter(Number.isNaN)).toEqual([])
})

it('draws any number where it is read otherwise as well', () => {
  const isMask = (use: (b: Builder, mask: Value) => Value): boolean =>
    isKeepMask(scores(use).graph.inputs[1] as Value)
  expect(isMask(hidden)).toBe(true)
  expect(
    isMask((b, mask) => b.op('Add', [hidden(b, mask), b.op('Unsqueeze', [mask, b.integers(1)])])),
  ).toBe(false)
  expect(isMask((b, mask) => b.op('Unsqueeze', [mask, b.integers(1)]))).toBe(false)
})
