/** Numbers that choose rows of a table are drawn among all of them, whatever the rank of the input. */
import { expect, it } from 'vitest'
import { sampleInputs } from '../../src/data/sample-inputs.js'
import { numbersOf, type RuntimeTensor } from '../../src/onnx/numbers.js'
import { build } from '../axes/builder.js'

it('draws candidates of a list among the rows of the smaller of two tables', () => {
  const model = build((b) => {
    const ids = b.input('candidates', ['batch', 5, 8], 'int64')
    const flat = b.reshape(ids, -1, 8)
    const [wide, narrow] = [b.weight(50, 4), b.weight(20, 4)]
    const both = [wide, narrow].map((table) => b.op('Gather', [table, flat], { axis: 0 }))
    return b.op('Add', both)
  })
  const { feeds } = sampleInputs(model, { vocabulary: undefined, seed: 1 })
  const drawn = [...numbersOf(feeds['candidates'] as RuntimeTensor)].map(Number)
  expect(Math.max(...drawn)).toBeLessThan(20)
  expect(new Set(drawn).size).toBeGreaterThan(10)
})

it('draws tokens of each codebook among its own rows of a table that holds all', () => {
  const model = build((b) => {
    const codes = b.input('input_ids', ['batch', 3], 'int64')
    const numbers = b.op('Add', [codes, b.integers(0, 10, 20)])
    return b.op('Gather', [b.weight(30, 4), numbers], { axis: 0 })
  })
  const { feeds } = sampleInputs(model, { vocabulary: 30, seed: 1 })
  const drawn = [...numbersOf(feeds['input_ids'] as RuntimeTensor)].map(Number)
  expect(Math.max(...drawn)).toBeLessThan(10)
})
