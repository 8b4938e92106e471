/** Weights that a file lists as inputs are read and cut like others; a number with a default stays an input. */
import { expect, it } from 'vitest'
import { exportModel } from '../../src/graph/export.js'
import { fixWeights } from '../../src/graph/fixed-weights.js'
import type { Model } from '../../src/graph/graph.js'
import { readModel } from '../../src/model/model.js'
import { tensorOf } from '../../src/onnx/numbers.js'
import { build } from '../axes/builder.js'
import { compareModels } from '../zoo/compare.js'

const [C, F] = [4, 6]

/** A feed-forward whose constants, or those of one number alone, are inputs too. */
function listed(which: 'all' | 'numbers', irVersion = 3): Model {
  const model = build((b) => {
    const x = b.input('x', ['batch', C])
    const wide = b.op('Relu', [b.linear(x, C, F)])
    return b.op('Add', [b.op('Mul', [x, b.scalar(0.5)]), b.linear(wide, F, C)])
  })
  for (const value of model.graph.values.values())
    if (value.constant && (which === 'all' || value.constant.dims.length === 0))
      model.graph.inputs.push(value)
  model.irVersion = irVersion
  fixWeights(model)
  return model
}

it('weights among the inputs are no inputs, and lose members', async () => {
  const model = listed('all')
  expect(model.graph.inputs.map(({ name }) => name)).toEqual(['x'])
  const { graph, ir_version } = exportModel(model)
  // Older formats ask for initializers among the inputs.
  expect([graph?.input?.length, Number(ir_version)]).toEqual([1, 4])
  const [block] = readModel(model.graph).feedForward
  expect([block?.width, block?.dimension?.sliceable]).toEqual([F, true])
  const x = tensorOf(
    'float32',
    [3, C],
    Array.from({ length: 3 * C }, (_, i) => Math.sin(i)),
  )
  const choice = new Map([[block?.dimension?.id ?? '', [0, 2, 5]]])
  expect(await compareModels(() => listed('all', 8), [{ x }], choice)).toBeLessThan(1e-5)
})

it('a number with a default stays an input', () => {
  expect(listed('numbers', 8).graph.inputs).toHaveLength(2)
})
