/** Folders in and out: what is chosen, what is carried, and that a failure leaves nothing behind. */
import { spawnSync } from 'node:child_process'
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { InferenceSession, Tensor as RuntimeTensor } from 'onnxruntime-node'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { edit } from '../../src/graph/edit.js'
import type { Model } from '../../src/graph/graph.js'
import { importModel } from '../../src/graph/import.js'
import { loadFrom, loadModel } from '../../src/model-folder/load.js'
import { openModelFolder } from '../../src/model-folder/model-folder.js'
import { saveModelFolder } from '../../src/model-folder/save.js'
import { encodeModel, toBytes } from '../../src/onnx/codec.js'
import { gatherAxis } from '../../src/onnx/gather-axis.js'
import type { ModelMessage, TensorMessage } from '../../src/onnx/messages.js'
import { lazyTensor, readTensor } from '../../src/onnx/tensor.js'
import { linearModel, node, tensorMessage, valueInfo } from './messages.js'

let folder: string
let source: string
let target: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'attnc-test-'))
  source = join(folder, 'source')
  target = join(folder, 'target')
  mkdirSync(source)
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

const coded = (code: string, text = '') =>
  expect.objectContaining({ name: 'AttncError', code, message: expect.stringContaining(text) })

const write = (name: string, content: string | Uint8Array): void => {
  const path = join(source, name)
  mkdirSync(join(path, '..'), { recursive: true })
  writeFileSync(path, content)
}

const plain = toBytes(encodeModel(linearModel()))

/** `y = x · w` with w [64, 64] in `weights.bin`, for one or more models. */
function writeExternal(...names: string[]): void {
  const values = Float32Array.from({ length: 64 * 64 }, (_, index) => index % 7)
  write('weights.bin', Buffer.concat([Buffer.alloc(5), new Uint8Array(values.buffer)]))
  const weight: TensorMessage = {
    name: 'w',
    dims: [64n, 64n],
    data_type: 1,
    data_location: 1,
    external_data: [
      { key: 'location', value: 'weights.bin' },
      { key: 'offset', value: '5' },
    ],
  }
  const message: ModelMessage = {
    ...linearModel(),
    graph: {
      name: 'g',
      node: [node('MatMul', ['x', 'w'], ['m']), node('Add', ['m', 'one'], ['y'])],
      initializer: [weight, tensorMessage('one', [1], [1])],
      input: [valueInfo('x', 1, 64)],
      output: [valueInfo('y', 1, 64)],
    },
  }
  for (const name of names) write(name, toBytes(encodeModel(message)))
}

/** Keeps some columns of w, as a pass would. */
function narrow(model: Model, keep: readonly number[]): void {
  edit(model.graph, 'narrow', (change) => {
    const value = model.graph.values.get('w')
    if (value?.constant) change.setConstant(value, gatherAxis(value.constant, 1, keep))
    const [output] = model.graph.outputs
    if (output) change.setType(output, { dataType: 'float32', dims: [1, keep.length] })
  })
}

describe('openModelFolder', () => {
  test('prefers model.onnx and names the others and the sidecars', () => {
    for (const name of ['model.onnx', 'model_with_past.onnx']) write(name, plain)
    for (const name of ['config.json', 'genai_config.json', 'tokenizer.json', 'merges.txt'])
      write(name, '{}')
    for (const name of ['README.md', 'eval.txt', 'weights.bin']) write(name, '')
    expect(openModelFolder(source)).toEqual({
      folder: source,
      file: 'model.onnx',
      models: ['model.onnx', 'model_with_past.onnx'],
      sidecars: ['config.json', 'genai_config.json', 'merges.txt', 'tokenizer.json'],
      choice: 'model.onnx of 2; beside it: model_with_past.onnx',
    })
    expect(openModelFolder(join(source, 'model_with_past.onnx'))).toMatchObject({
      file: 'model_with_past.onnx',
      folder: source,
    })
  })

  test('finds models in onnx/ with the configs above', () => {
    write('onnx/model.onnx', plain)
    write('config.json', '{}')
    for (const path of [source, join(source, 'onnx', 'model.onnx')])
      expect(openModelFolder(path)).toMatchObject({
        folder: source,
        file: 'onnx/model.onnx',
        sidecars: ['config.json'],
      })
  })

  test('takes the only model, and asks where several have no order', () => {
    write('decoder.onnx', plain)
    expect(openModelFolder(source).file).toBe('decoder.onnx')
    write('encoder.onnx', plain)
    expect(() => openModelFolder(source)).toThrow(
      coded('MODEL_AMBIGUOUS', 'decoder.onnx, encoder.onnx'),
    )
  })
})

describe('digest', () => {
  test('changes with the model and with its external data, not with the name', async () => {
    writeExternal('model.onnx', 'other.onnx')
    const first = await loadModel(source).digest()
    expect(first).toMatch(/^[0-9a-f]{64}$/)
    expect(await loadModel(join(source, 'other.onnx')).digest()).toBe(first)
    const bytes = readFileSync(join(source, 'weights.bin'))
    bytes[100] = 99
    writeFileSync(join(source, 'weights.bin'), bytes)
    expect(await loadModel(source).digest()).not.toBe(first)
  })
})

describe('saveModelFolder', () => {
  test('writes an untouched model byte for byte, with what belongs to it', async () => {
    write('model.onnx', plain)
    write('config.json', '{"a": 1}')
    write('tokenizer.json', '{ }')
    write('README.md', 'of the source')
    const { model } = loadModel(source)
    const progress: number[][] = []
    const saved = await saveModelFolder({
      models: { 'model.onnx': model },
      from: source,
      to: target,
      files: { 'plan.json': '{}' },
      onProgress: (done, total) => progress.push([done, total]),
    })
    expect(readdirSync(target).sort()).toEqual([
      'config.json',
      'model.onnx',
      'plan.json',
      'tokenizer.json',
    ])
    expect(Buffer.compare(readFileSync(join(target, 'model.onnx')), plain)).toBe(0)
    expect(readFileSync(join(target, 'tokenizer.json'), 'utf8')).toBe('{ }')
    expect(saved.files).toContainEqual({ name: 'model.onnx', bytes: plain.length })
    expect(progress.at(-1)?.[0]).toBe(progress.at(-1)?.[1])
    expect(readdirSync(folder).sort()).toEqual(['source', 'target'])
  })

  test('runs in ONNX Runtime after a slice, with its weights beside it on page bounds', async () => {
    writeExternal('model.onnx')
    const { model } = loadModel(source)
    narrow(model, [3, 4, 20, 30, 60])
    await saveModelFolder({ models: { 'model.onnx': model }, from: source, to: target })
    const back = loadModel(target)
    const weight = back.model.graph.values.get('w')?.constant
    expect((weight?.file?.offset ?? 1) % 64).toBe(0)
    expect(weight?.file?.path).toBe(join(target, 'weights.bin'))
    expect(back.model.graph.values.get('one')?.constant?.file).toBeUndefined()
    const session = await InferenceSession.create(join(target, 'model.onnx'))
    const x = new RuntimeTensor(
      'float32',
      Float32Array.from({ length: 64 }, (_, i) => i),
      [1, 64],
    )
    const { y } = await session.run({ x })
    const expected = [3, 4, 20, 30, 60].map((column) => {
      let sum = 1
      for (let row = 0; row < 64; row++) sum += row * ((row * 64 + column) % 7)
      return sum
    })
    expect(Array.from(y?.data as Float32Array)).toEqual(expected)
    await session.release()
  })

  test('models that shared their weights go on sharing them, sliced or not', async () => {
    writeExternal('model.onnx', 'model_with_past.onnx')
    for (const keep of [undefined, [1, 5, 9, 12, 13]]) {
      const first = loadModel(source)
      const second = loadFrom(first.location, 'model_with_past.onnx')
      if (keep) for (const { model } of [first, second]) narrow(model, keep)
      await saveModelFolder({
        models: { 'model.onnx': first.model, 'model_with_past.onnx': second.model },
        to: target,
        force: true,
      })
      expect(readdirSync(target).sort()).toEqual([
        'model.onnx',
        'model_with_past.onnx',
        'weights.bin',
      ])
      const size = readFileSync(join(target, 'weights.bin')).length
      expect(size).toBe(64 * (keep?.length ?? 64) * 4)
      const again = loadModel(join(target, 'model_with_past.onnx'))
      const before = second.model.graph.values.get('w')?.constant?.bytes() ?? Buffer.of()
      const after = again.model.graph.values.get('w')?.constant?.bytes() ?? Buffer.of()
      expect(Buffer.compare(before, after)).toBe(0)
    }
  })

  test('the same input gives the same bytes', async () => {
    writeExternal('model.onnx')
    const digests = []
    for (const name of ['one', 'two']) {
      const { model } = loadModel(source)
      narrow(model, [1, 2])
      await saveModelFolder({ models: { 'model.onnx': model }, to: join(folder, name) })
      digests.push(await loadModel(join(folder, name)).digest())
    }
    expect(digests[0]).toBe(digests[1])
  })

  test('weights come out in ranges as they do at once', async () => {
    writeExternal('model.onnx')
    const { model } = loadModel(source)
    narrow(model, [0, 2, 4, 6])
    const tensor = model.graph.values.get('w')?.constant
    if (!tensor) throw new Error('no weight')
    const half = new Uint8Array(tensor.byteLength / 2)
    readTensor(tensor, half.length, half)
    expect(Buffer.compare(half, tensor.bytes().subarray(half.length))).toBe(0)
  })

  test('edits configs and leaves alone what the edit returns as it was', async () => {
    write('model.onnx', plain)
    write('config.json', '{\n    "heads": 4\n}\n')
    write('generation_config.json', '{"x":1}')
    write('preprocessor_config.json', 'not JSON')
    await saveModelFolder({
      models: { 'model.onnx': loadModel(source).model },
      from: source,
      to: target,
      configEdit: (name, config) =>
        name === 'config.json' ? { ...(config as object), heads: 3 } : config,
    })
    const read = (name: string): string => readFileSync(join(target, name), 'utf8')
    expect(read('config.json')).toBe('{\n    "heads": 3\n}\n')
    expect(read('generation_config.json')).toBe('{"x":1}')
    expect(read('preprocessor_config.json')).toBe('not JSON')
  })

  test('refuses an output that is there, a file, or around the input', async () => {
    write('model.onnx', plain)
    const { model } = loadModel(source)
    const save = (to: string, force = false) =>
      saveModelFolder({ models: { 'model.onnx': model }, from: source, to, force })
    await save(target)
    await expect(save(target)).rejects.toThrow(coded('OUTPUT_EXISTS', target))
    await expect(save(target)).rejects.toThrow(expect.objectContaining({ oclif: { exit: 2 } }))
    await expect(save(join(source, 'model.onnx', 'x'))).rejects.toThrow(coded('OUTPUT_UNWRITABLE'))
    await expect(save(join(folder, 'x.onnx'))).rejects.toThrow(coded('OUTPUT_NOT_A_FOLDER'))
    await expect(save(folder, true)).rejects.toThrow(coded('OUTPUT_CONTAINS_INPUT'))
    const other = join(folder, 'other')
    mkdirSync(other)
    writeFileSync(join(other, 'thesis.txt'), '')
    await expect(save(other, true)).rejects.toThrow(coded('OUTPUT_NOT_A_MODEL'))
    expect(readdirSync(other)).toEqual(['thesis.txt'])
  })

  test('replaces the input itself when forced', async () => {
    writeExternal('model.onnx')
    const { model } = loadModel(source)
    narrow(model, [1, 2])
    await saveModelFolder({
      models: { 'model.onnx': model },
      from: source,
      to: source,
      force: true,
    })
    expect(loadModel(source).model.graph.values.get('w')?.constant?.dims).toEqual([64, 2])
    expect(readdirSync(folder)).toEqual(['source'])
  })

  test('a failure or an abort leaves the old folder and nothing else', async () => {
    writeExternal('model.onnx')
    const { model } = loadModel(source)
    await saveModelFolder({ models: { 'model.onnx': model }, to: target })
    const before = await loadModel(target).digest()
    const broken = loadModel(source).model
    edit(broken.graph, 'test', (change) => {
      const value = broken.graph.values.get('w')
      const fail = lazyTensor('float32', [64, 64], () => {
        throw new RangeError('made to fail')
      })
      if (value) change.setConstant(value, fail)
    })
    const save = (each: Model, to: string, signal?: AbortSignal) =>
      saveModelFolder({ models: { 'model.onnx': each }, to, force: true, signal })
    await expect(save(broken, target)).rejects.toThrow('made to fail')
    await expect(save(broken, join(folder, 'a', 'b'))).rejects.toThrow('made to fail')
    await expect(save(model, target, AbortSignal.abort())).rejects.toThrow(coded('INTERRUPTED'))
    await expect(save(model, target, AbortSignal.abort())).rejects.toThrow(
      expect.objectContaining({ oclif: { exit: 130 } }),
    )
    expect(readdirSync(folder).sort()).toEqual(['source', 'target'])
    expect(await loadModel(target).digest()).toBe(before)
  })

  test('says that the disk is too small before it writes anything', async () => {
    const model = importModel(linearModel())
    edit(model.graph, 'test', (change) => {
      change.constant(lazyTensor('uint8', [2 ** 46], () => new Uint8Array()))
    })
    await expect(saveModelFolder({ models: { 'model.onnx': model }, to: target })).rejects.toThrow(
      coded('DISK_FULL', '70.4 TB are needed'),
    )
    expect(readdirSync(folder)).toEqual(['source'])
  })

  test('removes what a killed run left', async () => {
    write('model.onnx', plain)
    const ended = spawnSync(process.execPath, ['--version']).pid
    const left = join(folder, `.target.attnc-${ended}-tmp`)
    mkdirSync(left)
    await saveModelFolder({ models: { 'model.onnx': loadModel(source).model }, to: target })
    expect(existsSync(left)).toBe(false)
  })

  test.skipIf(process.getuid?.() === 0)(
    'names a folder that may not be written (skipped as root)',
    async () => {
      chmodSync(folder, 0o500)
      const model = importModel(linearModel())
      await expect(
        saveModelFolder({ models: { 'model.onnx': model }, to: target }),
      ).rejects.toThrow(coded('OUTPUT_UNWRITABLE'))
      chmodSync(folder, 0o700)
    },
  )
})
