/** Models that are damaged or strange, through load, inspect, slice and save. */
import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { amp } from '../../passes/amp/index.js'
import { inspect } from '../../src/inspect/inspect.js'
import { silentLog } from '../../src/log.js'
import { readModel } from '../../src/model/model.js'
import { loadModel } from '../../src/model-folder/load.js'
import { saveModelFolder } from '../../src/model-folder/save.js'
import { encodeModel, encodeTensor, toBytes } from '../../src/onnx/codec.js'
import type {
  GraphMessage,
  ModelMessage,
  NodeMessage,
  TensorMessage,
} from '../../src/onnx/messages.js'
import { applyPart } from '../../src/plan/apply.js'
import { prune } from '../../src/prune/prune.js'
import { attentionModel } from '../fuzz/models.js'
import { scaleFunction } from '../graph/models.js'
import { node, tensorMessage, valueInfo } from '../onnx/messages.js'
import { refusalOf } from './refusal.js'

let folder: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'attnc test – ü '))
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

const slices = [{ dimension: 'layer.0.width', remove: [1, 5] }]

/** The main job without data. */
async function work(path: string): Promise<void> {
  const { model } = loadModel(path)
  await inspect(model)
  applyPart(model.graph, { slices })
  await saveModelFolder({ models: { 'model.onnx': model }, to: join(folder, 'output') })
}

type Files = Readonly<Record<string, Uint8Array | string>>

function write(files: Files): string {
  for (const [name, content] of Object.entries(files)) {
    mkdirSync(dirname(join(folder, name)), { recursive: true })
    writeFileSync(join(folder, name), content)
  }
  return join(folder, 'a model')
}

const bytesOf = (message: ModelMessage): Uint8Array => toBytes(encodeModel(message))
const asModel = (content: Uint8Array | string): Files => ({ 'a model/model.onnx': content })

const model = attentionModel()
const whole = bytesOf(model)
const withGraph = (changes: GraphMessage): Files =>
  asModel(bytesOf({ ...model, graph: { ...model.graph, ...changes } }))
const nodes = model.graph?.node ?? []
const initializers = model.graph?.initializer ?? []
const withNodes = (change: (each: NodeMessage) => NodeMessage): Files =>
  withGraph({ node: nodes.map(change) })
const withWeight = (change: (tensor: TensorMessage) => TensorMessage): Files =>
  withGraph({ initializer: initializers.map((each) => (each.name === 'up' ? change(each) : each)) })
const rewire = (op: string, changes: NodeMessage): Files =>
  withNodes((each) => (each.op_type === op ? { ...each, ...changes } : each))

const external = (entries: Readonly<Record<string, string>>): Files =>
  withWeight(({ raw_data, ...rest }) => ({
    ...rest,
    data_location: 1,
    external_data: Object.entries(entries).map(([key, value]) => ({ key, value })),
  }))

const refused: readonly (readonly [title: string, files: Files, code: string, text: string])[] = [
  ['an empty file', asModel(''), 'NOT_PROTOBUF', 'empty'],
  ['a text file', asModel('once upon a time'), 'NOT_PROTOBUF', 'text'],
  ['random bytes', asModel(Uint8Array.of(255, 7, 0, 200, 3)), 'NOT_PROTOBUF', ''],
  [
    'a tensor of a test data set',
    asModel(toBytes(encodeTensor(tensorMessage('x', [1], [1])))),
    'NOT_A_MODEL',
    'tensor',
  ],
  ['a folder without a model', { 'a model/readme.txt': '' }, 'NO_MODEL_IN_FOLDER', 'readme.txt'],
  ['nothing at that path', {}, 'MODEL_NOT_FOUND', 'a model'],
  ['a graph that is missing', asModel(bytesOf({ ir_version: 10n })), 'NOT_A_MODEL', 'a graph'],
  ['external data that is missing', external({ location: 'w' }), 'EXTERNAL_DATA_MISSING', '"w"'],
  [
    'external data that is short',
    { ...external({ location: 'w' }), 'a model/w': new Uint8Array(511) },
    'EXTERNAL_DATA_SHORT',
    '511',
  ],
  [
    'external data of another size',
    { ...external({ location: 'w', length: '100' }), 'a model/w': new Uint8Array(512) },
    'TENSOR_SIZE_MISMATCH',
    '512',
  ],
  [
    'external data above the folder',
    { ...external({ location: '../w' }), w: new Uint8Array(512) },
    'EXTERNAL_DATA_OUTSIDE',
    'upwards',
  ],
  [
    'external data at an absolute path',
    external({ location: '/etc/passwd' }),
    'EXTERNAL_DATA_OUTSIDE',
    'absolute',
  ],
  [
    'external data at an offset that is no number',
    external({ location: 'w', offset: '-4' }),
    'EXTERNAL_DATA_MALFORMED',
    '-4',
  ],
  ['a cycle', rewire('Relu', { input: ['narrow'] }), 'CYCLIC_GRAPH', 'nodes'],
  ['a dangling input', rewire('Relu', { input: ['nowhere'] }), 'DANGLING_INPUT', '"nowhere"'],
  [
    'a dangling output',
    withGraph({ output: [valueInfo('nowhere')] }),
    'DANGLING_OUTPUT',
    '"nowhere"',
  ],
  ['a value made twice', rewire('Relu', { output: ['wide0'] }), 'DUPLICATE_DEFINITION', '"wide0"'],
  [
    'an initializer of a taken name',
    withGraph({ initializer: [...initializers, tensorMessage('up', [1], [1])] }),
    'DUPLICATE_DEFINITION',
    '"up"',
  ],
  ['a node without an operator', rewire('Relu', { op_type: '' }), 'OPERATOR_MISSING', 'wide'],
  ['an IR too new', asModel(bytesOf({ ...model, ir_version: 14n })), 'IR_TOO_NEW', '14'],
  [
    'an opset too new',
    asModel(bytesOf({ ...model, opset_import: [{ domain: '', version: 27n }] })),
    'OPSET_TOO_NEW',
    '27',
  ],
  ['no opset', asModel(bytesOf({ ...model, opset_import: [] })), 'OPSET_MISSING', 'operator set'],
  [
    'no opset of the operators it has',
    asModel(bytesOf({ ...model, opset_import: [{ domain: 'a', version: 1n }] })),
    'OPSET_MISSING',
    'ai.onnx',
  ],
  [
    'an initializer without a name',
    withGraph({ initializer: [...initializers, tensorMessage('', [1], [1])] }),
    'NAME_MISSING',
    'an initializer',
  ],
  [
    'a function that calls itself',
    asModel(bytesOf({ ...model, functions: [scaleFunction('', 'Scale')] })),
    'CYCLIC_FUNCTION',
    'Scale',
  ],
  [
    'an element type of a later format',
    withWeight((each) => ({ ...each, data_type: 99 })),
    'UNKNOWN_DATA_TYPE',
    '99',
  ],
  [
    'a tensor smaller than its shape',
    withWeight((each) => ({ ...each, dims: [8n, 17n] })),
    'TENSOR_SIZE_MISMATCH',
    '"up"',
  ],
  [
    'a tensor whose shape no memory holds',
    withWeight((each) => ({ ...each, dims: [2n ** 40n, 2n ** 40n] })),
    'TENSOR_SIZE_MISMATCH',
    '"up"',
  ],
  [
    'a negative shape',
    withWeight((each) => ({ ...each, dims: [-8n, -16n] })),
    'TENSOR_SIZE_MISMATCH',
    '"up"',
  ],
]

describe('refused, with nothing written', () => {
  test.each(refused)('%s', async (_, files, code, text) => {
    const path = write(files)
    const refusal = await refusalOf(folder, () => work(path))
    expect(refusal).toMatchObject({ code, exit: 3 })
    expect(refusal.message).toContain(text)
  })

  test('a file cut anywhere', async () => {
    const codes = new Set<string>()
    for (let at = 1; at < 60; at++) {
      const length = Math.floor((whole.length * at) / 60)
      const path = write(asModel(whole.subarray(0, length)))
      const { code, exit } = await refusalOf(folder, () => work(path))
      codes.add(code)
      expect(exit).toBe(3)
    }
    expect([...codes]).toEqual(['TRUNCATED_MODEL'])
  })

  test('external data behind a link that leaves the folder', async () => {
    const path = write({ ...external({ location: 'w' }), w: new Uint8Array(512) })
    symlinkSync(join(folder, 'w'), join(path, 'w'))
    expect(await refusalOf(folder, () => work(path))).toMatchObject({
      code: 'EXTERNAL_DATA_OUTSIDE',
      exit: 3,
    })
  })
})

test.skipIf(process.platform === 'win32')('a pipe is refused, and not waited for', async () => {
  const path = join(folder, 'model.onnx')
  execFileSync('mkfifo', [path])
  expect(await refusalOf(folder, () => loadModel(path))).toMatchObject({
    code: 'MODEL_NOT_A_FILE',
    exit: 3,
  })
})

describe('taken, and what can’t be understood is named', () => {
  test('an operator of an unknown domain stays as it is and bars only its own axes', async () => {
    const strange = node('Swirl', ['wide0'], ['wide'], {
      domain: 'com.acme',
      attribute: [{ name: 'twist', type: 2, i: 3n }],
    })
    const path = write(
      withGraph({
        node: nodes.map((each) => (each.op_type === 'Relu' ? strange : each)),
        value_info: [valueInfo('wide', 'batch', 'sequence', 16)],
      }),
    )
    const { unrecognised } = await inspect(loadModel(path).model)
    expect(unrecognised).toEqual([
      expect.objectContaining({ node: 'Swirl/wide', reason: expect.stringContaining('com.acme') }),
    ])
    const { graph } = loadModel(path).model
    const view = readModel(graph)
    expect(view.dimensions.find((each) => each.size === 16)?.sliceable ?? false).toBe(false)
    applyPart(graph, { slices: [{ dimension: 'layer.0.keyValueHeads', remove: [0] }] })
    await saveModelFolder({ models: { 'model.onnx': graph.model }, to: join(folder, 'output') })
    const after = [...loadModel(join(folder, 'output')).model.graph.nodes()]
    expect(after.find(({ op }) => op === 'Swirl')?.message).toMatchObject(strange)
  })

  test('an input of unknown rank', async () => {
    const input = { name: 'ids', type: { tensor_type: { elem_type: 7 } } }
    const path = write(withGraph({ input: [input] }))
    const { unrecognised, dimensions } = await inspect(loadModel(path).model)
    expect(unrecognised[0]?.reason).toMatch(/rank .* not known/)
    expect(dimensions.filter((each) => each.sliceable)).toEqual([])
    expect(await refusalOf(folder, () => work(path))).toMatchObject({
      code: 'UNKNOWN_DIMENSION',
      exit: 2,
    })
  })

  test('numbers that are none, in what stays and in what goes', async () => {
    const values = Float32Array.from({ length: 8 * 16 }, (_, index) =>
      index % 16 === 1 ? Number.NaN : index % 16 === 2 ? Number.NEGATIVE_INFINITY : index,
    )
    const path = write(withWeight((each) => ({ ...each, raw_data: new Uint8Array(values.buffer) })))
    await work(path)
    const weight = loadModel(join(folder, 'output')).model.graph.values.get('up')?.constant
    const rows = [...new Float32Array(weight?.bytes().slice().buffer ?? new ArrayBuffer(0))]
    expect(weight?.dims).toEqual([8, 14])
    expect(rows.filter(Number.isNaN)).toEqual([])
    expect(rows.filter((each) => each === Number.NEGATIVE_INFINITY)).toHaveLength(8)
  })

  test('but nothing is decided on numbers that are none', async () => {
    const raw_data = new Uint8Array(Float32Array.from({ length: 128 }, () => Number.NaN).buffer)
    const source = loadModel(write(withWeight((each) => ({ ...each, raw_data }))))
    const refusal = await refusalOf(folder, () =>
      prune({
        source,
        passes: [amp({ criterion: 'magnitude', recover: 'none' })],
        output: join(folder, 'output'),
        single: false,
        log: silentLog,
      }),
    )
    expect(refusal).toMatchObject({ code: 'WEIGHT_NOT_FINITE', exit: 4 })
    expect(refusal.message).toContain('"up" [8,16]')
  })

  test('weights that two layers share are cut once, for both', async () => {
    const second = [
      node('MatMul', ['stream2', 'up'], ['wide2']),
      node('Relu', ['wide2'], ['wide3']),
      node('MatMul', ['wide3', 'down'], ['narrow2']),
      node('Add', ['stream2', 'narrow2'], ['stream3']),
    ]
    const path = write(
      withGraph({
        node: [...nodes.slice(0, -1), ...second, node('MatMul', ['stream3', 'head'], ['logits'])],
      }),
    )
    await work(path)
    const { graph } = loadModel(join(folder, 'output')).model
    expect(graph.values.get('up')?.constant?.dims).toEqual([8, 14])
    expect(graph.values.get('down')?.constant?.dims).toEqual([14, 8])
  })
})
