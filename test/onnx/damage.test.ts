/** Files that are not models, or no longer: always a named error, never a crash or a hang. */
import { mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { AttncError } from '../../src/errors.js'
import { importModel } from '../../src/graph/import.js'
import { loadModel } from '../../src/model-folder/load.js'
import { decodeModel, encodeModel, encodeTensor, toBytes } from '../../src/onnx/codec.js'
import type { ModelMessage, TensorMessage } from '../../src/onnx/messages.js'
import { linearModel, node, tensorMessage } from './messages.js'

let folder: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'attnc-test-'))
})
afterEach(() => rmSync(folder, { recursive: true }))

const write = (content: string | Uint8Array): string => {
  const path = join(folder, 'model.onnx')
  writeFileSync(path, content)
  return path
}

const coded = (code: string, text = '') =>
  expect.objectContaining({ name: 'AttncError', code, message: expect.stringContaining(text) })

describe('files that are not models', () => {
  test.each<[string, string | Uint8Array, string]>([
    ['an empty file', '', 'empty file'],
    ['text', 'hello, world\n', 'text file'],
    ['JSON', '{"a": 1}', 'JSON'],
    ['a web page', '<!DOCTYPE html><p>', 'web page'],
    ['a Git LFS pointer', 'version https://git-lfs.github.com/spec/v1\noid sha256:0', 'Git LFS'],
    ['a zip', 'PK\x03\x04\x00\x00', 'zip'],
    ['ONNX text', '<ir_version: 8>\ng (x) => (y) {}', 'ONNX text'],
    [
      'safetensors',
      Buffer.concat([Buffer.of(60, 0, 0, 0, 0, 0, 0, 0), Buffer.from('{"a":')]),
      'safetensors',
    ],
    ['a NumPy array', Buffer.from('\x93NUMPY\x01\x00', 'latin1'), 'NumPy'],
  ])('%s is named', (_, content, text) => {
    expect(() => loadModel(write(content))).toThrow(coded('NOT_PROTOBUF', text))
  })

  test('a tensor of a test data set is named', () => {
    const path = write(toBytes(encodeTensor(tensorMessage('x', [1], [1]))))
    expect(() => loadModel(path)).toThrow(coded('NOT_A_MODEL', 'tensor'))
  })

  test('a path that does not exist, a folder without a model', () => {
    expect(() => loadModel(join(folder, 'none'))).toThrow(coded('MODEL_NOT_FOUND'))
    expect(() => loadModel('')).toThrow(coded('MODEL_NOT_FOUND'))
    writeFileSync(join(folder, 'a.txt'), '')
    expect(() => loadModel(folder)).toThrow(coded('NO_MODEL_IN_FOLDER', 'a.txt'))
  })
})

describe('damaged files', () => {
  const whole = toBytes(encodeModel(linearModel()))

  test('a file cut at any byte is refused', () => {
    for (let length = 0; length < whole.length; length++) {
      const path = write(whole.subarray(0, length))
      // Cut between two fields of the model it is well-formed, but something it needs is gone.
      expect(() => loadModel(path), `cut at ${length}`).toThrow(AttncError)
    }
  })

  test('any change of some bytes is read or refused with a code', () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.nat(whole.length - 1), fc.nat(255)), { minLength: 1, maxLength: 4 }),
        (changes) => {
          const bytes = Uint8Array.from(whole)
          for (const [at, value] of changes) bytes[at] = value
          try {
            const { model } = loadModel(write(bytes))
            for (const value of model.graph.initializers()) value.constant?.bytes()
          } catch (error) {
            expect(error).toBeInstanceOf(AttncError)
          }
        },
      ),
      { numRuns: 500, seed: 4 },
    )
  })

  test('random bytes are refused with a code', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        expect(() => loadModel(write(bytes))).toThrow(AttncError)
      }),
      { numRuns: 300, seed: 5 },
    )
  })

  test('messages nested without end are refused', () => {
    // GraphProto.node (1) → NodeProto.attribute (5) → AttributeProto.g (6) → …
    let bytes: number[] = []
    const wrap = (field: number): void => {
      const length = bytes.length
      bytes = [
        field * 8 + 2,
        (length & 127) | 128,
        ((length >> 7) & 127) | 128,
        length >> 14,
        ...bytes,
      ]
    }
    for (let depth = 0; depth < 60; depth++) for (const field of [6, 5, 1]) wrap(field)
    wrap(7)
    expect(() => decodeModel(Uint8Array.from(bytes))).toThrow(coded('MODEL_TOO_DEEP'))
  })
})

describe('external data', () => {
  const external = (location: string, rest: Record<string, string> = {}): TensorMessage => ({
    name: 'w',
    dims: [2n, 3n],
    data_type: 1,
    data_location: 1,
    external_data: Object.entries({ location, ...rest }).map(([key, value]) => ({ key, value })),
  })
  const withWeights = (tensor: TensorMessage): ModelMessage => {
    const model = linearModel()
    return {
      ...model,
      graph: { ...model.graph, initializer: [tensor, tensorMessage('b', [3], [7, 8, 9])] },
    }
  }
  const save = (tensor: TensorMessage): string => write(toBytes(encodeModel(withWeights(tensor))))

  test('is read at its offset', () => {
    const values = Float32Array.of(0, 1, 2, 3, 4, 5, 6)
    writeFileSync(join(folder, 'w.bin'), new Uint8Array(values.buffer))
    const { model } = loadModel(save(external('w.bin', { offset: '4', length: '24' })))
    const tensor = model.graph.values.get('w')?.constant
    expect([...new Float32Array(tensor?.bytes().buffer ?? new ArrayBuffer(0))]).toEqual([
      1, 2, 3, 4, 5, 6,
    ])
    expect(tensor?.file).toEqual({ path: join(folder, 'w.bin'), offset: 4 })
  })

  test.each([
    '../w.bin',
    'a/../../w.bin',
    '/etc/hostname',
    'C:\\w.bin',
    '..\\w.bin',
    '',
    '.',
    'a\0b',
  ])('at "%s" is refused', (location) => {
    writeFileSync(join(folder, 'w.bin'), new Uint8Array(24))
    expect(() => loadModel(save(external(location)))).toThrow(coded('EXTERNAL_DATA_OUTSIDE'))
  })

  test('behind a link that leaves the folder is refused', () => {
    symlinkSync('/etc/passwd', join(folder, 'w.bin'))
    expect(() => loadModel(save(external('w.bin')))).toThrow(coded('EXTERNAL_DATA_OUTSIDE', 'link'))
  })

  test('beside the file that the model is a link to is read, as in download caches', () => {
    const cache = mkdtempSync(join(tmpdir(), 'attnc-test-'))
    writeFileSync(join(cache, 'blob-1'), toBytes(encodeModel(withWeights(external('w.bin')))))
    writeFileSync(join(cache, 'blob-2'), new Uint8Array(24))
    symlinkSync(join(cache, 'blob-1'), join(folder, 'model.onnx'))
    symlinkSync(join(cache, 'blob-2'), join(folder, 'w.bin'))
    expect(loadModel(folder).model.graph.values.get('w')?.constant?.bytes().length).toBe(24)
    rmSync(cache, { recursive: true })
  })

  test('missing, short or of another size is refused', () => {
    expect(() => loadModel(save(external('w.bin')))).toThrow(coded('EXTERNAL_DATA_MISSING'))
    writeFileSync(join(folder, 'w.bin'), new Uint8Array(24))
    expect(() => loadModel(save(external('w.bin', { offset: '1' })))).toThrow(
      coded('EXTERNAL_DATA_SHORT'),
    )
    expect(() => loadModel(save(external('w.bin', { length: '20' })))).toThrow(
      coded('TENSOR_SIZE_MISMATCH'),
    )
    expect(() => loadModel(save(external('w.bin', { offset: '-1' })))).toThrow(
      coded('EXTERNAL_DATA_MALFORMED'),
    )
    expect(() => loadModel(save(external('w.bin', { offset: '1e9' })))).toThrow(
      coded('EXTERNAL_DATA_MALFORMED'),
    )
  })

  test('missing is an error only when it is read, where that is allowed', () => {
    const { model } = loadModel(save(external('w.bin')), { allowMissingWeights: true })
    const tensor = model.graph.values.get('w')?.constant
    expect(tensor?.byteLength).toBe(24)
    expect(() => tensor?.bytes()).toThrow(coded('EXTERNAL_DATA_MISSING'))
  })

  test('that changes after loading is noticed', () => {
    writeFileSync(join(folder, 'w.bin'), new Uint8Array(24))
    const { model } = loadModel(save(external('w.bin')))
    writeFileSync(join(folder, 'w.bin'), new Uint8Array(25))
    expect(() => model.graph.values.get('w')?.constant?.bytes()).toThrow(
      coded('MODEL_FILE_CHANGED'),
    )
  })

  test('needs a folder', () => {
    expect(() => importModel(withWeights(external('w.bin')))).toThrow(
      coded('EXTERNAL_DATA_MISSING'),
    )
  })
})

describe('large tensors inside a model', () => {
  test('stay in the file and are read from there', () => {
    const values = Array.from({ length: 40_000 }, (_, index) => index)
    const model = linearModel()
    const big: ModelMessage = {
      ...model,
      graph: {
        ...model.graph,
        node: [node('Identity', ['big'], ['y'])],
        initializer: [tensorMessage('small', [1], [1]), tensorMessage('big', [40_000], values)],
      },
    }
    const path = write(toBytes(encodeModel(big)))
    const loaded = loadModel(path)
    const tensor = loaded.model.graph.values.get('big')?.constant
    expect(tensor?.file?.path).toBe(path)
    expect(loaded.model.graph.values.get('small')?.constant?.file).toBeUndefined()
    const { offset } = tensor?.file ?? { offset: 0 }
    expect(
      Buffer.compare(
        readFileSync(path).subarray(offset, offset + 160_000),
        tensor?.bytes() ?? Buffer.of(),
      ),
    ).toBe(0)
  })
})
