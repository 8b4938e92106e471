/** Inputs with a row for each codebook of a sample are drawn and cut by samples. */
import { expect, it } from 'vitest'
import { portsOf } from '../../src/data/open-data.js'
import { randomBatches } from '../../src/data/random.js'
import { sliceArrays } from '../../src/data/slice-arrays.js'
import { tensorOf } from '../../src/onnx/numbers.js'
import { build } from '../axes/builder.js'
import { runModel } from '../zoo/compare.js'

// K codebooks
const K = 4

const model = () =>
  build((b) => {
    const codes = b.input('codes', ['rows', 6], 'int64')
    const text = b.input('text', ['batch', 3])
    const apart = b.reshape(codes, -1, K, 6)
    const read = b.op('Gather', [b.weight(20, 3), apart], { axis: 0 })
    const sum = b.op('ReduceSum', [read, b.integers(1, 2)], { keepdims: 0 })
    return b.op('Add', [sum, text])
  })

it('drawn and cut alike, so that every sample has its codebooks', async () => {
  const inputs = portsOf(model())
  expect(inputs.map(({ perSample }) => perSample)).toEqual([K, undefined])
  const size = { sequenceLength: 6, batchSize: 2, samples: 4, seed: 1 }
  const drawn = randomBatches({ inputs, ...size })
  const arrays = {
    codes: tensorOf(
      'int64',
      [3 * K, 6],
      Array.from({ length: 18 * K }, (_, i) => i % 20),
    ),
    text: tensorOf(
      'float32',
      [3, 3],
      Array.from({ length: 9 }, (_, i) => i),
    ),
  }
  const cut = sliceArrays(arrays, inputs, { what: 'data.npz', batchSize: 2 })
  const shapes = [...drawn, ...cut].map(({ feeds }) =>
    [feeds['codes'], feeds['text']].map((each) => each?.dims[0]),
  )
  expect(shapes).toEqual([
    [2 * K, 2],
    [2 * K, 2],
    [2 * K, 2],
    [K, 1],
  ])
  const results = await runModel(
    model(),
    [...drawn, ...cut].map(({ feeds }) => feeds),
  )
  expect(results).toHaveLength(4)
})
