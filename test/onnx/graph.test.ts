/** Messages ↔ graphs: inner graphs, functions, constants, order, and what may not be. */

import { describe, expect, test } from 'vitest'
import { edit } from '../../src/graph/edit.js'
import { exportModel } from '../../src/graph/export.js'
import { innerGraphs, type Node } from '../../src/graph/graph.js'
import { importModel } from '../../src/graph/import.js'
import { decodeModel, encodeModel, toBytes } from '../../src/onnx/codec.js'
import { gatherAxis } from '../../src/onnx/gather-axis.js'
import { copyMessage, type GraphMessage, type ModelMessage } from '../../src/onnx/messages.js'
import { float32Tensor, type Tensor } from '../../src/onnx/tensor.js'
import { branchingModel } from '../graph/models.js'
import { linearModel, node, tensorMessage, valueInfo } from './messages.js'

const coded = (code: string, text = '') =>
  expect.objectContaining({ name: 'AttncError', code, message: expect.stringContaining(text) })

/** As it comes from a file. */
const decoded = (message: ModelMessage): ModelMessage => decodeModel(toBytes(encodeModel(message)))

const withGraph = (graph: Partial<GraphMessage>): ModelMessage => {
  const model = linearModel()
  return { ...model, graph: { ...model.graph, ...graph } }
}

const onlyNode = (nodes: Iterable<Node>, op: string): Node => {
  const found = [...nodes].filter((each) => each.op === op)
  expect(found.length).toBe(1)
  return found[0] as Node
}

const numbers = (tensor: Tensor | undefined): number[] => {
  const bytes = Uint8Array.from(tensor?.bytes() ?? [])
  return tensor?.dataType === 'int64'
    ? [...new BigInt64Array(bytes.buffer)].map(Number)
    : [...new Float32Array(bytes.buffer)]
}

const conditional = branchingModel()

describe('import', () => {
  test('links values to the nodes that make and read them', () => {
    const { graph } = importModel(linearModel())
    const xw = graph.values.get('xw')
    expect(xw?.producer?.op).toBe('MatMul')
    expect([...(xw?.uses ?? [])].map((use) => [use.node.op, use.index])).toEqual([['Add', 0]])
    expect(graph.inputs.map((value) => value.type?.dims)).toEqual([['n', 2]])
    expect(numbers(graph.values.get('b')?.constant)).toEqual([7, 8, 9])
  })

  test('counts what inner graphs read from around them', () => {
    const { graph } = importModel(conditional)
    const xw = graph.values.get('xw')
    expect([...(xw?.uses ?? [])].map((use) => use.node.graph.name)).toEqual(['then', 'else'])
    expect([...innerGraphs(onlyNode(graph.nodes(), 'If'))].map((each) => each.outer)).toEqual([
      graph,
      graph,
    ])
  })

  test('puts a node after what its inner graphs read', () => {
    const [first, second] = conditional.graph?.node ?? []
    if (!first || !second) throw new Error('two nodes expected')
    const { graph } = importModel({
      ...conditional,
      graph: { ...conditional.graph, node: [second, first] },
    })
    expect([...graph.nodes()].map((each) => each.op)).toEqual(['MatMul', 'If'])
  })

  test.each([
    ['value', { t: tensorMessage('', [2], [1, 2]), type: 4 }, [1, 2], [2]],
    ['value_float', { f: 3, type: 1 }, [3], []],
    ['value_floats', { floats: [3, 4], type: 6 }, [3, 4], [2]],
    ['value_int', { i: 3n, type: 2 }, [3], []],
    ['value_ints', { ints: [3n, -4n], type: 7 }, [3, -4], [2]],
  ])('reads a Constant node with %s', (name, attribute, values, dims) => {
    const { graph } = importModel(
      withGraph({ node: [node('Constant', [], ['y'], { attribute: [{ name, ...attribute }] })] }),
    )
    const value = graph.values.get('y')
    expect(numbers(value?.constant)).toEqual(values)
    expect(value?.constant?.dims).toEqual(dims)
    expect(value?.producer?.op).toBe('Constant')
    expect([...graph.initializers()].map((each) => each.name)).not.toContain('y')
  })

  test('takes an initializer that is an input too, as before IR 4', () => {
    const message = withGraph({ input: [valueInfo('x', 'n', 2), valueInfo('w', 2, 3)] })
    const model = importModel({ ...message, ir_version: 3n })
    const w = model.graph.values.get('w')
    expect(w?.isGraphInput).toBe(true)
    expect(w?.constant?.dims).toEqual([2, 3])
    expect(exportModel(model).graph?.input?.length).toBe(2)
    expect(exportModel(model).graph?.initializer?.length).toBe(2)
  })

  test('reads functions with overloads, defaults and references to attributes', () => {
    const body = (overload: string) => ({
      name: 'Scale',
      domain: 'local',
      ...(overload ? { overload } : {}),
      input: ['v'],
      output: ['r'],
      attribute: ['unused'],
      attribute_proto: [{ name: 'alpha', type: 1, f: 2 }],
      opset_import: [{ domain: '', version: 21n }],
      node: [
        node('LeakyRelu', ['v'], ['r'], {
          attribute: [{ name: 'alpha', type: 1, ref_attr_name: 'alpha' }],
        }),
      ],
    })
    const message = decoded({
      ...withGraph({ node: [node('Scale', ['x'], ['y'], { domain: 'local', overload: 'two' })] }),
      functions: [body(''), body('two')],
    })
    const model = importModel(message)
    const call = onlyNode(model.graph.nodes(), 'Scale')
    const found = model.findFunction(call)
    expect(found?.overload).toBe('two')
    expect(found?.defaults.get('alpha')).toEqual({ kind: 'float', value: 2 })
    expect(onlyNode(found?.body.nodes() ?? [], 'LeakyRelu').attributes.get('alpha')).toMatchObject({
      kind: 'reference',
      value: 'alpha',
    })
    expect(exportModel(model)).toBe(message)
  })

  test('keeps sparse initializers sparse until they are replaced', () => {
    const sparse = {
      values: tensorMessage('s', [1], [5]),
      indices: { name: 'i', dims: [1n], data_type: 7, int64_data: [Uint8Array.of(1)] },
      dims: [3n],
    }
    const message = decoded(
      withGraph({ sparse_initializer: [sparse], node: [node('Add', ['x', 's'], ['y'])] }),
    )
    const model = importModel(message)
    const value = model.graph.values.get('s')
    expect(numbers(value?.constant)).toEqual([0, 5, 0])
    expect(exportModel(model)).toBe(message)
    edit(model.graph, 'test', (change) => {
      if (value?.constant) change.setConstant(value, gatherAxis(value.constant, 0, [1, 2]))
    })
    const exported = decoded(exportModel(model)).graph
    expect(exported?.sparse_initializer?.length ?? 0).toBe(0)
    expect(exported?.initializer?.map((each) => each.name)).toEqual(['w', 'b', 's'])
  })
})

describe('refused graphs', () => {
  test.each<[string, ModelMessage, string]>([
    ['DANGLING_INPUT', withGraph({ node: [node('Add', ['x', 'nowhere'], ['y'])] }), '"nowhere"'],
    ['DANGLING_OUTPUT', withGraph({ output: [valueInfo('z')] }), '"z"'],
    [
      'DUPLICATE_DEFINITION',
      withGraph({ node: [node('Relu', ['x'], ['y']), node('Relu', ['x'], ['y'])] }),
      '"y"',
    ],
    ['DUPLICATE_DEFINITION', withGraph({ node: [node('Relu', ['x'], ['w'])] }), '"w"'],
    [
      'CYCLIC_GRAPH',
      withGraph({
        node: [
          node('Add', ['x', 'q'], ['p']),
          node('Relu', ['p'], ['q']),
          node('Relu', ['p'], ['y']),
        ],
      }),
      '2 nodes',
    ],
    ['CYCLIC_GRAPH', withGraph({ node: [node('Relu', ['y'], ['y'])] }), '1 nodes'],
    ['IR_TOO_NEW', linearModel({ ir_version: 14n }), '14'],
    ['OPSET_TOO_NEW', linearModel({ opset_import: [{ domain: 'ai.onnx', version: 27n }] }), '27'],
    ['OPSET_MISSING', linearModel({ opset_import: [] }), 'operator set'],
  ])('%s', (code, message, text) => {
    expect(() => importModel(message)).toThrow(coded(code, text))
    expect(() => importModel(message)).toThrow(expect.objectContaining({ oclif: { exit: 3 } }))
  })

  test('an output of an inner graph that is made outside', () => {
    const message = withGraph({
      node: [
        node('If', ['x'], ['y'], {
          attribute: [{ name: 'then_branch', type: 5, g: { name: 't', output: [valueInfo('x')] } }],
        }),
      ],
    })
    expect(() => importModel(message)).toThrow(coded('OUTER_VALUE_AS_OUTPUT'))
  })
})

describe('export', () => {
  test.each<[string, ModelMessage]>([
    ['a plain model', linearModel()],
    ['inner graphs', conditional],
    [
      'declared inner values, annotations, metadata',
      withGraph({
        value_info: [valueInfo('xw', 'n', 3), valueInfo('of nothing')],
        quantization_annotation: [{ tensor_name: 'w' }],
        metadata_props: [{ key: 'k', value: 'v' }],
        doc_string: 'doc',
      }),
    ],
  ])('gives back the very message of %s', (_, message) => {
    const from = decoded(message)
    expect(exportModel(importModel(from))).toBe(from)
  })

  test('writes a sliced weight, the new types and the origin of a new node', () => {
    const from = decoded(
      copyMessage(withGraph({ value_info: [valueInfo('xw', 'n', 3)] }), {
        metadata_props: [{ key: 'by', value: 'x' }],
      }),
    )
    const model = importModel(from)
    const { graph } = model
    edit(graph, 'narrow', (change) => {
      for (const name of ['w', 'b']) {
        const value = graph.values.get(name)
        if (value?.constant)
          change.setConstant(
            value,
            gatherAxis(value.constant, value.constant.dims.length - 1, [2, 0]),
          )
      }
      for (const name of ['xw', 'y']) {
        const value = graph.values.get(name)
        if (value) change.setType(value, { dataType: 'float32', dims: ['n', 2] })
      }
      const [output] = graph.outputs
      if (output) change.expose(change.add('Relu', [output], { output: 'z' }))
    })
    model.metadata.set('attnc.plan', '{}')
    const exported = decoded(exportModel(model))
    const back = importModel(exported)
    expect(numbers(back.graph.values.get('w')?.constant)).toEqual([3, 1, 6, 4])
    expect(numbers(back.graph.values.get('b')?.constant)).toEqual([9, 7])
    expect(back.graph.values.get('xw')?.type?.dims).toEqual(['n', 2])
    expect(exported.graph?.output?.map((info) => info.name)).toEqual(['y', 'z'])
    expect(onlyNode(back.graph.nodes(), 'Relu').origin).toBe('narrow')
    expect([...back.metadata]).toEqual([
      ['by', 'x'],
      ['attnc.plan', '{}'],
    ])
    // What was not touched is the message it was.
    expect(exportModel(model).graph?.node?.[0]).toBe(from.graph?.node?.[0])
  })

  test('keeps origins out of files before IR 10', () => {
    const model = importModel(linearModel({ ir_version: 9n }))
    edit(model.graph, 'extra', (change) => {
      const [output] = model.graph.outputs
      if (output) change.expose(change.add('Relu', [output]))
    })
    expect(exportModel(model).graph?.node?.at(-1)?.metadata_props).toBeUndefined()
  })

  test('writes a replaced constant into its node, and an edited attribute', () => {
    const model = importModel(
      decoded(
        withGraph({
          node: [
            node('Constant', [], ['c'], {
              attribute: [{ name: 'value_ints', type: 7, ints: [1n, 2n] }],
            }),
            node('Reshape', ['x', 'c'], ['y'], {
              attribute: [{ name: 'allowzero', type: 2, i: 0n, doc_string: 'd' }],
            }),
          ],
        }),
      ),
    )
    edit(model.graph, 'test', (change) => {
      const value = model.graph.values.get('c')
      if (value) change.setConstant(value, float32Tensor([1], [5]))
      const reshape = onlyNode(model.graph.nodes(), 'Reshape')
      change.setAttribute(reshape, 'allowzero', { kind: 'int', value: 1n })
    })
    const back = importModel(decoded(exportModel(model)))
    expect(numbers(back.graph.values.get('c')?.constant)).toEqual([5])
    expect(onlyNode(back.graph.nodes(), 'Reshape').attributes.get('allowzero')).toEqual({
      kind: 'int',
      value: 1n,
    })
    expect(exportModel(model).graph?.node?.[1]?.attribute?.[0]?.doc_string).toBe('d')
  })

  test('leaves out the declaration of a value that an edit erased', () => {
    const model = importModel(
      decoded(
        withGraph({
          node: [node('Relu', ['x'], ['unused']), node('Relu', ['x'], ['y'])],
          value_info: [valueInfo('unused', 'n', 2)],
        }),
      ),
    )
    edit(model.graph, 'test', (change) => {
      const value = model.graph.values.get('unused')
      if (value?.producer) change.erase(value.producer)
    })
    expect(exportModel(model).graph?.value_info).toEqual([])
  })

  test('writes constants that an edit adds to a function as nodes', () => {
    const model = importModel({
      ...withGraph({ node: [node('F', ['x'], ['y'], { domain: 'local' })] }),
      functions: [
        {
          name: 'F',
          domain: 'local',
          input: ['v'],
          output: ['r'],
          opset_import: [{ version: 21n }],
          node: [node('Relu', ['v'], ['r'])],
        },
      ],
    })
    const body = model.functions[0]?.body
    if (!body) throw new Error('no function')
    edit(body, 'test', (change) => change.constant(float32Tensor([1], [2]), 'two'))
    const nodes = exportModel(model).functions?.[0]?.node
    expect(nodes?.map((each) => each.op_type)).toEqual(['Constant', 'Relu'])
  })
})
