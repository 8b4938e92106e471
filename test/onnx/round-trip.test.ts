/** Real files: what attnc does not change comes back byte for byte. */
import { createHash } from 'node:crypto'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { exportModel } from '../../src/graph/export.js'
import { type Attribute, type Graph, innerGraphs } from '../../src/graph/graph.js'
import { importModel } from '../../src/graph/import.js'
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

/** All that a graph says, as text; bytes as digests. */
function describeGraph(graph: Graph): unknown {
  const tensor = (each: Tensor): unknown => [
    each.dataType,
    each.dims,
    createHash('sha256').update(each.bytes()).digest('hex'),
  ]
  const attribute = (each: Attribute): unknown => {
    if (each.kind === 'graph') return describeGraph(each.value)
    if (each.kind === 'tensor') return tensor(each.value)
    if (each.kind === 'other' || each.kind === 'reference') return each.kind
    return [each.kind, [each.value].flat().map(String)]
  }
  return {
    inputs: graph.inputs.map((value) => [value.name, value.type?.dataType, value.type?.dims]),
    outputs: graph.outputs.map((value) => [value.name, value.type?.dataType, value.type?.dims]),
    constants: [...graph.initializers()].map((value) => [
      value.name,
      value.constant && tensor(value.constant),
    ]),
    nodes: [...graph.nodes()].map((each) => [
      [each.op, each.domain, each.name, each.overload],
      each.inputs.map((value) => value?.name),
      each.outputs.map((value) => value?.name),
      [...each.attributes].map(([name, value]) => [name, attribute(value)]),
    ]),
  }
}

/** Forgets the messages, so that everything is written anew. */
function forget(graph: Graph): void {
  graph.message = undefined
  for (const value of graph.values.values()) {
    value.message = undefined
    if (value.constant && !value.producer)
      value.constant = { ...value.constant, message: undefined }
  }
  for (const each of graph.nodes()) {
    each.message = undefined
    for (const [name, attribute] of each.attributes)
      if (attribute.kind === 'tensor')
        each.attributes.set(name, {
          kind: 'tensor',
          value: { ...attribute.value, message: undefined },
        })
    for (const inner of innerGraphs(each)) forget(inner)
  }
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

  test.each(files.filter((name) => name.startsWith('zoo')))(
    '%s says the same when it is written anew',
    (name) => {
      const { model } = loadModel(join(root, name))
      const before = describeGraph(model.graph)
      forget(model.graph)
      model.message = undefined
      const bytes = toBytes(encodeModel(exportModel(model)))
      expect(describeGraph(importModel(decodeModel(bytes)).graph)).toEqual(before)
    },
  )
})
