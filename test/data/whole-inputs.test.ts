/** Arrays that are no samples beside some that are: single numbers are fed to every batch as they are. */
import { expect, it } from 'vitest'
import { randomBatches } from '../../src/data/random.js'
import { sliceArrays } from '../../src/data/slice-arrays.js'
import { tensorOf } from '../../src/onnx/numbers.js'
import type { Port } from '../../src/runtime/session.js'

const step: Port = { name: 'timestep', dataType: 'int64', dims: [] }
const sample: Port = { name: 'sample', dataType: 'float32', dims: ['batch', 2] }
const arrays = {
  timestep: tensorOf('int64', [], [7]),
  sample: tensorOf(
    'float32',
    [5, 2],
    Array.from({ length: 10 }, (_, i) => i),
  ),
}

it('a fixed batch is that of the first input that has samples', () => {
  const fixed: Port = { name: 'sample', dataType: 'float32', dims: [2, 3] }
  const sizes = { sequenceLength: 4, batchSize: 8, samples: 4, seed: 1 }
  const batches = randomBatches({ inputs: [step, fixed], ...sizes })
  expect(batches.map(({ feeds }) => feeds['sample']?.dims)).toEqual([
    [2, 3],
    [2, 3],
  ])
})

it.each([
  ['first', [step, sample]],
  ['last', [sample, step]],
])('a number alone, which comes %s', (_, inputs) => {
  const batches = sliceArrays(arrays, inputs, { what: 'data.npz', batchSize: 2 })
  const seen = batches.map(({ feeds }) => [feeds['sample']?.dims[0], feeds['timestep']?.dims])
  expect(seen).toEqual([
    [2, []],
    [2, []],
    [1, []],
  ])
})
