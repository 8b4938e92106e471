/** What a file declares is believed where nothing better is known, and of constants everything is. */
import { expect, it } from 'vitest'
import type { Value } from '../../src/graph/graph.js'
import { readModel } from '../../src/model/model.js'
import { tensorOf } from '../../src/onnx/numbers.js'
import { int64Tensor } from '../../src/onnx/tensor.js'
import { type Builder, build } from '../axes/builder.js'
import { compareModels } from '../zoo/compare.js'

const [C, S, W] = [8, 3, 12]

/** A shape in a Constant node that is declared to have no axes, as onnxruntime-genai writes it. */
function shape(b: Builder, ...dims: number[]): Value {
  const value = b.op('Constant', [], { value_ints: dims })
  value.constant = int64Tensor([dims.length], dims)
  // A type of the file's own.
  value.type = { dataType: 'int64', dims: [], message: {} }
  return value
}

it('a constant has the axes of its numbers, whatever is declared of it', async () => {
  const model = () =>
    build((b) => {
      const x = b.input('x', ['batch', S, C])
      const flat = b.op('Reshape', [b.linear(x, C, W), shape(b, -1, W)])
      const wide = b.op('Relu', [b.op('Reshape', [flat, shape(b, -1, S, W)])])
      return b.op('Add', [x, b.linear(wide, W, C)])
    })
  const { dimensions } = readModel(model().graph)
  const [width] = dimensions.filter(({ size }) => size === W)
  const numbers = Array.from({ length: 2 * S * C }, (_, i) => Math.sin(i))
  const feeds = [{ x: tensorOf('float32', [2, S, C], numbers) }]
  const keep = Array.from({ length: W - 5 }, (_, i) => i + 5)
  expect(await compareModels(model, feeds, new Map([[width?.id ?? '', keep]]))).toBeLessThan(1e-6)
})
