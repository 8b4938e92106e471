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
