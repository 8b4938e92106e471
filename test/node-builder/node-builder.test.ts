/** Nodes written in short, as the model's opset spells them. */
import { describe, expect, it } from 'vitest'
import { edit } from '../../src/graph/edit.js'
import { Model } from '../../src/graph/graph.js'
import { NodeBuilder } from '../../src/node-builder/node-builder.js'
import { numbersOf, tensorOf } from '../../src/onnx/numbers.js'
import { inferShapes } from '../../src/shape/infer.js'
import { runModel } from '../zoo/compare.js'

describe('sizes of some axes', () => {
  it.each([13, 14, 15, 21])('are read by opset %i', async (opset) => {
    const model = new Model()
    model.irVersion = 8
    model.opsets.set('', opset)
    const names = edit(model.graph, 'test', (change) => {
      const x = change.addInput('x', 'float32', ['a', 'b', 'c', 'd'])
      const build = new NodeBuilder(change, inferShapes(change.graph))
      return [build.sizes(x, 1, 3), build.sizeAlong(x, 2)].map((value) => {
        change.expose(value)
        return value.name
      })
    })
    const [found = {}] = await runModel(model, [
      { x: tensorOf('float32', [2, 3, 4, 5], new Float32Array(120)) },
    ])
    expect(names.map((name) => [...numbersOf(found[name] as never)])).toEqual([[3, 4], [4]])
  })
})
