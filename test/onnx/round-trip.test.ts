/** Real files: what attnc does not change comes back byte for byte. */
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { exportModel } from '../../src/graph/export.js'
import { loadModel } from '../../src/model-folder/load.js'
import { decodeModel, encodeModel, toBytes } from '../../src/onnx/codec.js'
import { readLocation } from '../../src/onnx/external-data.js'
import type { TensorMessage } from '../../src/onnx/messages.js'
import { readModelFile } from '../../src/onnx/model-file.js'
import type { Tensor } from '../../src/onnx/tensor.js'
import { isExternal } from '../../src/onnx/tensor-message.js'

const root = '../shared/models'
const files = existsSync(root)
  ? readdirSync(root, { recursive: true, encoding: 'utf8' }).filter((name) =>
      name.endsWith('.onnx'),
    )
  : []

/** Where the source has them, so that an untouched message needs no new place. */
const whereItWas = (tensor: Tensor): { location: string; offset: number } | undefined => {
  const message = tensor.message as TensorMessage | undefined
  return message && isExternal(message) ? readLocation(message) : undefined
}

describe.skipIf(files.length === 0)(`real files (skipped where ${root} is absent)`, () => {
  test.each(files)('%s comes back byte for byte', (name) => {
    const path = join(root, name)
    const bytes = readFileSync(path)
    expect(Buffer.compare(toBytes(encodeModel(decodeModel(bytes))), bytes)).toBe(0)
    expect(Buffer.compare(toBytes(encodeModel(readModelFile(path).message)), bytes)).toBe(0)
    const { model } = loadModel(path, { allowMissingWeights: true })
    const exported = exportModel(model, { place: whereItWas })
    expect(Buffer.compare(toBytes(encodeModel(exported)), bytes)).toBe(0)
  })
})
