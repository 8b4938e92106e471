/** The laws: each violation is found, and what runtimes bear with is only noted. */
import { describe, expect, test } from 'vitest'
import { checkModel } from '../../src/graph/check.js'
import { edit, type GraphEdit } from '../../src/graph/edit.js'
import type { Graph, Node, Value } from '../../src/graph/graph.js'
import { importModel } from '../../src/graph/import.js'
import { saveModelFolder } from '../../src/model-folder/save.js'
import { float32Tensor } from '../../src/onnx/tensor.js'
import { linearModel, node, valueInfo } from '../onnx/messages.js'
import { branchingModel, scaleFunction } from './models.js'

const coded = (code: string, text = '') =>
  expect.objectContaining({ name: 'AttncError', code, message: expect.stringContaining(text) })

const value = (graph: Graph, name: string): Value => graph.values.get(name) as Value
const first = (graph: Graph): Node => [...graph.nodes()][0] as Node

describe('an edit is refused that', () => {
  test.each<[string, string, (change: GraphEdit, graph: Graph) => void]>([
    [
      'reads a value before it is made',
      'before it is made',
      (change, graph) => change.setInput(first(graph), 0, value(graph, 'y')),
    ],
    [
      'reads a value of another model',
      'which is not there',
      (change, graph) =>
        change.setInput(first(graph), 0, value(importModel(linearModel()).graph, 'x')),
    ],
    [
      'needs a domain that is not imported',
      '"com.example"',
      (change, graph) => change.add('New', [...graph.inputs], { domain: 'com.example' }),
    ],
    [
      'erases a constant that an inner graph reads',
      'which is not there',
      (_, graph) => graph.values.delete('b'),
    ],
    [
      'declares a constant as what it is not',
      'declared float32 [4]',
      (change, graph) => change.setType(value(graph, 'b'), { dataType: 'float32', dims: [4] }),
    ],
    [
      'exposes what is not in the graph',
      'an output that nothing',
      (change) => change.expose(value(importModel(linearModel()).graph, 'x')),
    ],
    [
      'refers to an attribute of a function where there is none',
      'of no function',
      (change, graph) =>
        change.setAttribute(first(graph), 'a', { kind: 'reference', value: 'a', message: {} }),
    ],
    [
      'writes a number of more than 64 bits',
      '64 bits',
      (change, graph) => change.setAttribute(first(graph), 'a', { kind: 'int', value: 2n ** 63n }),
    ],
  ])('%s', (_, text, change) => {
    const { graph } = importModel(branchingModel())
    expect(() => edit(graph, 'test', (each) => void change(each, graph))).toThrow(
      coded('GRAPH_LAW', text),
    )
    expect(graph.values.has('b')).toBe(true)
  })
})

describe('checkModel', () => {
  test('notes unknown domains, hidden names and types that lie, as files may have them', () => {
    const message = branchingModel()
    const model = importModel({
      ...message,
      graph: {
        ...message.graph,
        node: [...(message.graph?.node ?? []), node('Op', ['x'], ['z'], { domain: 'com.example' })],
        input: [...(message.graph?.input ?? []), valueInfo('e')],
        value_info: [valueInfo('b', 7)],
      },
    })
    const { violations, notes } = checkModel(model)
    expect(violations).toEqual([])
    expect(notes.map(({ at, text }) => `${at} ${text}`)).toEqual([
      'b is declared float32 [7], and its constant is float32 [3]',
      'e hides a value of the graph around it',
      'Op/z is of the domain "com.example", which is not imported',
    ])
  })

  test('finds links that do not agree', () => {
    const model = importModel(linearModel())
    value(model.graph, 'w').uses.clear()
    expect(checkModel(model).violations).toEqual([
      { at: 'w', text: 'is read 1 times, and 0 readers are linked' },
    ])
  })

  test('is asked before anything is written', async () => {
    const model = importModel(linearModel())
    value(model.graph, 'w').constant = float32Tensor([1], [1])
    value(model.graph, 'w').type = { dataType: 'int64', dims: [1] }
    const to = '/nowhere/that/exists'
    await expect(saveModelFolder({ models: { 'm.onnx': model }, to })).rejects.toThrow(
      coded('GRAPH_LAW', '"w" is declared int64'),
    )
  })
})

describe('functions', () => {
  const call = node('Scale', ['x'], ['y'], { domain: 'local' })
  const message = (...overloads: string[]) => ({
    ...linearModel({ opset_import: [{ version: 21n }, { domain: 'local', version: 1n }] }),
    graph: { ...linearModel().graph, node: [call] },
    functions: overloads.map((each) => scaleFunction(each)),
  })

  test('are lawful with overloads and defaults', () => {
    expect(checkModel(importModel(message('', 'two')))).toMatchObject({ violations: [], notes: [] })
  })

  test('may not be defined twice, nor call themselves', () => {
    expect(() => importModel(message('two', 'two'))).toThrow(coded('DUPLICATE_DEFINITION'))
    expect(() => importModel({ ...message(), functions: [scaleFunction('', 'Scale')] })).toThrow(
      coded('CYCLIC_FUNCTION', 'local.Scale'),
    )
  })

  test('an attribute may not be stated twice', () => {
    const twice = { name: 'axis', type: 2, i: 0n }
    const graph = {
      ...linearModel().graph,
      node: [node('Softmax', ['x'], ['y'], { attribute: [twice, twice] })],
    }
    expect(() => importModel({ ...linearModel(), graph })).toThrow(
      coded('DUPLICATE_DEFINITION', '"axis" twice'),
    )
  })
})
