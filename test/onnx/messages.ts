/**
 * Small models as messages, for tests that need a file of their own.
 */
import type { ModelMessage, NodeMessage, TensorMessage } from '../../src/onnx/messages.js'

export const floats = (...values: number[]): Uint8Array =>
  new Uint8Array(Float32Array.from(values).buffer)

export const tensorMessage = (
  name: string,
  dims: readonly number[],
  values: readonly number[],
): TensorMessage => ({
  name,
  dims: dims.map(BigInt),
  data_type: 1,
  raw_data: floats(...values),
})

export const valueInfo = (name: string, ...dims: (number | string)[]) => ({
  name,
  type: {
    tensor_type: {
      elem_type: 1,
      shape: {
        dim: dims.map((dim) =>
          typeof dim === 'number' ? { dim_value: BigInt(dim) } : { dim_param: dim },
        ),
      },
    },
  },
})

export const node = (
  op_type: string,
  input: readonly string[],
  output: readonly string[],
  rest: Partial<NodeMessage> = {},
): NodeMessage => ({ op_type, input, output, name: `${op_type}/${output[0]}`, ...rest })

/** `y = x · w + b` over [n, 2]. */
export const linearModel = (changes: Partial<ModelMessage> = {}): ModelMessage => ({
  ir_version: 10n,
  opset_import: [{ domain: '', version: 21n }],
  graph: {
    name: 'linear',
    node: [node('MatMul', ['x', 'w'], ['xw']), node('Add', ['xw', 'b'], ['y'])],
    initializer: [
      tensorMessage('w', [2, 3], [1, 2, 3, 4, 5, 6]),
      tensorMessage('b', [3], [7, 8, 9]),
    ],
    input: [valueInfo('x', 'n', 2)],
    output: [valueInfo('y', 'n', 3)],
  },
  ...changes,
})
