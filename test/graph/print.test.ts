/** The text of models, as snapshots. */
import { describe, expect, test } from 'vitest'
import { edit } from '../../src/graph/edit.js'
import { importModel } from '../../src/graph/import.js'
import { printModel } from '../../src/graph/print.js'
import { gatherAxis } from '../../src/onnx/gather-axis.js'
import type { ModelMessage, TypeMessage } from '../../src/onnx/messages.js'
import { linearModel, node, tensorMessage, valueInfo } from '../onnx/messages.js'
import { branchingModel, scaleFunction } from './models.js'

const print = (message: ModelMessage): string => printModel(importModel(message))

describe('printModel', () => {
  test('shows inner graphs where they are held', () => {
    expect(print(branchingModel())).toMatchInlineSnapshot(`
      "<
         ir_version: 10,
         opset_import: ["": 21]
      >
      linear (float[n,2] x, float flag) => (float[n,3] y)
      <
         float[2,3] w = {1.0, 2.0, 3.0, 4.0, 5.0, 6.0},
         float[3] b = {7.0, 8.0, 9.0}
      >
      {
         ["MatMul/xw"] xw = MatMul (x, w)
         ["If/y"] y = If <then_branch: graph = then () => (float[n,3] t)
         {
            ["Add/t"] t = Add (xw, b)
         }, else_branch: graph = else () => (float[n,3] e)
         <
            float[3] c = {0.0, 0.0, 1.0}
         >
         {
            ["Add/e"] e = Add (xw, c)
         }> (flag)
      }
      "
    `)
  })

  test('shows functions with their defaults, overloads and references', () => {
    const message = linearModel({
      opset_import: [{ version: 21n }, { domain: 'local', version: 1n }],
      metadata_props: [{ key: 'made by', value: 'a "test"' }],
      functions: [scaleFunction('two')],
    })
    expect(
      print({
        ...message,
        graph: {
          ...message.graph,
          node: [node('Scale', ['x'], ['y'], { domain: 'local', overload: 'two' })],
          initializer: [],
        },
      }),
    ).toMatchInlineSnapshot(`
      "<
         ir_version: 10,
         opset_import: ["": 21, "local": 1],
         metadata_props: ["made by": "a \\"test\\""]
      >
      linear (float[n,2] x) => (float[n,3] y)
      {
         ["Scale/y"] y = local.Scale:two (x)
      }

      <
        domain: "local",
        overload: "two",
        opset_import: ["": 21, "local": 1]
      >
      Scale <unused, alpha: float = 2.0> (v) => (r)
      {
         ["LeakyRelu/r"] r = LeakyRelu <alpha: float = @alpha> (v)
      }
      "
    `)
  })

  test('shows every kind of attribute and type, and a digest of large tensors', () => {
    const type = (name: string, each: TypeMessage) => ({ name, type: each })
    const float = { tensor_type: { elem_type: 1, shape: {} } }
    const large = Array.from({ length: 12 }, (_, index) => index / 4)
    expect(
      print({
        ...linearModel(),
        graph: {
          name: 'main graph',
          node: [
            node('Op', ['x', '', 'large'], ['y', ''], {
              attribute: [
                { name: 'f', type: 1, f: 0.1 },
                { name: 'i', type: 2, i: -(2n ** 63n) },
                { name: 's', type: 3, s: Buffer.from('a\n"b"') },
                { name: 't', type: 4, t: tensorMessage('', [2], [1, -0.5]) },
                { name: 'fs', type: 6, floats: [1, 1e30] },
                { name: 'is', type: 7, ints: [] },
                { name: 'ss', type: 8, strings: [Buffer.from('é')] },
              ],
            }),
          ],
          initializer: [
            tensorMessage('large', [3, 4], large),
            { name: 'half', dims: [1n], data_type: 10, raw_data: Uint8Array.of(0, 0x3c) },
            { name: 'four', dims: [3n], data_type: 22, raw_data: Uint8Array.of(0x21, 0x03) },
            { name: 'text', dims: [1n], data_type: 8, string_data: [Buffer.from('hi')] },
            { name: 'flags', dims: [2n], data_type: 9, raw_data: Uint8Array.of(1, 0) },
          ],
          input: [
            valueInfo('x', 'n', 2),
            type('unranked', { tensor_type: { elem_type: 7 } }),
            type('open', { tensor_type: { elem_type: 1, shape: { dim: [{}] } } }),
            type('list', { sequence_type: { elem_type: float } }),
            type('maybe', { optional_type: { elem_type: float } }),
            type('table', { map_type: { key_type: 7, value_type: float } }),
            type('sparse', { sparse_tensor_type: { elem_type: 1 } }),
            { name: 'untyped' },
          ],
          output: [{ name: 'y' }],
        },
      }),
    ).toMatchInlineSnapshot(`
      "<
         ir_version: 10,
         opset_import: ["": 21]
      >
      "main graph" (float[n,2] x, int64[] unranked, float[?] open, seq(float) list, optional(float) maybe, map(int64, float) table, sparse_tensor(float) sparse, untyped) => (y)
      <
         float[3,4] large = {0.0, 0.25, 0.5, … sha256 7a3c06cfb2fb},
         float16[1] half = {1.0},
         int4[3] four = {… sha256 3bd9484dd8e6},
         string[1] text = {"hi"},
         bool[2] flags = {1, 0}
      >
      {
         ["Op/y"] y, "" = Op <f: float = 0.1, i: int = -9223372036854775808, s: string = "a\\n\\"b\\"", t: tensor = float[2] {1.0, -0.5}, fs: floats = [1.0, 1e+30], is: ints = [], ss: strings = ["é"]> (x, "", large)
      }
      "
    `)
  })

  test('shows what an edit changed', () => {
    const model = importModel(linearModel())
    const before = printModel(model).split('\n')
    edit(model.graph, 'narrow', (change) => {
      for (const [name, axis] of [
        ['w', 1],
        ['b', 0],
      ] as const) {
        const value = model.graph.values.get(name)
        if (value?.constant) change.setConstant(value, gatherAxis(value.constant, axis, [2]))
      }
      for (const output of model.graph.outputs)
        change.setType(output, { dataType: 'float32', dims: ['n', 1] })
    })
    const after = printModel(model).split('\n')
    expect(after.filter((line) => !before.includes(line)).join('\n')).toMatchInlineSnapshot(`
      "linear (float[n,2] x) => (float[n,1] y)
         float[2,1] w = {3.0, 6.0},
         float[1] b = {9.0}"
    `)
  })
})
