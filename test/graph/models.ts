/** Messages of small models with inner graphs and functions. */
import type { FunctionMessage, ModelMessage } from '../../src/onnx/messages.js'
import { linearModel, node, tensorMessage, valueInfo } from '../onnx/messages.js'

/** `y = flag ? x · w + b : x · w + c`, the branches reading `xw` and `b` from around them. */
export const branchingModel = (): ModelMessage => {
  const model = linearModel()
  return {
    ...model,
    graph: {
      ...model.graph,
      node: [
        node('MatMul', ['x', 'w'], ['xw']),
        node('If', ['flag'], ['y'], {
          attribute: [
            {
              name: 'then_branch',
              type: 5,
              g: {
                name: 'then',
                node: [node('Add', ['xw', 'b'], ['t'])],
                output: [valueInfo('t', 'n', 3)],
              },
            },
            {
              name: 'else_branch',
              type: 5,
              g: {
                name: 'else',
                initializer: [tensorMessage('c', [3], [0, 0, 1])],
                node: [node('Add', ['xw', 'c'], ['e'])],
                output: [valueInfo('e', 'n', 3)],
              },
            },
          ],
        }),
      ],
      input: [valueInfo('x', 'n', 2), valueInfo('flag')],
    },
  }
}

/** `local.Scale(v)`, with a default for `alpha`. */
export const scaleFunction = (overload = '', called = 'LeakyRelu'): FunctionMessage => ({
  name: 'Scale',
  domain: 'local',
  ...(overload ? { overload } : {}),
  input: ['v'],
  output: ['r'],
  attribute: ['unused'],
  attribute_proto: [{ name: 'alpha', type: 1, f: 2 }],
  opset_import: [
    { domain: '', version: 21n },
    { domain: 'local', version: 1n },
  ],
  node: [
    node(called, ['v'], ['r'], {
      attribute: [{ name: 'alpha', type: 1, ref_attr_name: 'alpha' }],
      ...(called === 'Scale' ? { domain: 'local' } : {}),
    }),
  ],
})
