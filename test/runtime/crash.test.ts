/**
 * Damaged models that ONNX Runtime crashes on, while it opens them and while it runs them: an error with a code, and a
 * process that cleans up and ends by itself. Should a later ONNX Runtime bear these, find others: test/fuzz does.
 */
import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { importModel } from '../../src/graph/import.js'
import { encodeModel, toBytes } from '../../src/onnx/codec.js'
import type { ModelMessage, NodeMessage } from '../../src/onnx/messages.js'
import { tensorOf } from '../../src/onnx/numbers.js'
import { materialise } from '../../src/runtime/materialise.js'
import { findCrashSite } from '../../src/runtime/native/crash-site.js'
import { findAddon } from '../../src/runtime/native/library.js'
import { openSession } from '../../src/runtime/session.js'
import { attentionModel } from '../fuzz/models.js'
import { node, valueInfo } from '../onnx/messages.js'

const isBuilt = findAddon()?.limitMemory !== undefined
if (!isBuilt)
  process.stderr.write(
    'skipped: no addon that survives crashes; "npm run build:native" builds it\n',
  )

let path: string
beforeEach(() => {
  path = join(mkdtempSync(join(tmpdir(), 'attnc-crash-')), 'model.onnx')
})
afterEach(() => rmSync(join(path, '..'), { recursive: true, force: true }))

/** Its third input is optional, and is named as one that is not there. */
function withoutBias(): ModelMessage {
  const model = attentionModel()
  const without = (each: NodeMessage): NodeMessage =>
    each.op_type === 'LayerNormalization'
      ? { ...each, input: [...(each.input ?? []).slice(0, 2), ''] }
      : each
  return { ...model, graph: { ...model.graph, node: (model.graph?.node ?? []).map(without) } }
}

/** The largest of x and of an input that is not there. */
const largestOfNothing: ModelMessage = {
  ir_version: 10n,
  opset_import: [{ domain: '', version: 21n }],
  graph: {
    name: 'g',
    node: [node('Max', ['x', ''], ['y'])],
    input: [valueInfo('x', 'n')],
    output: [valueInfo('y', 'n')],
  },
}

function amidst(): ModelMessage {
  const largest = { ...node('Max', ['b', ''], ['c']), name: 'largest' }
  const [before, after] = [node('Neg', ['x'], ['a']), node('Neg', ['c'], ['d'])]
  const graph = largestOfNothing.graph ?? {}
  const all = [before, node('Abs', ['a'], ['b']), largest, after, node('Abs', ['d'], ['y'])]
  return { ...largestOfNothing, graph: { ...graph, node: all } }
}

function crash(model: ModelMessage, feeds: object, ...bytes: number[]) {
  writeFileSync(path, toBytes(encodeModel(model)))
  const words = ['--import', 'tsx', join(import.meta.dirname, 'crash-process.ts'), path]
  const more = [JSON.stringify(feeds), ...bytes.map(String)]
  return spawnSync(process.execPath, [...words, ...more], { encoding: 'utf8' })
}

describe.runIf(isBuilt)('a crash of ONNX Runtime', () => {
  test.each([
    ['opens', withoutBias(), {}, /^RUNTIME_CRASHED: .*SIGSEGV.*\ncleaned up\n$/],
    ['runs', largestOfNothing, { x: [1, 2] }, /^opened\nRUNTIME_CRASHED: .*\ncleaned up\n$/],
  ])('while it %s a model is an error with a code', (_, model, feeds, text) => {
    const { stdout, stderr, status, signal } = crash(model, feeds)
    expect({ status, signal, stderr }).toEqual({ status: 3, signal: null, stderr: '' })
    expect(stdout).toMatch(text)
  })

  // However long it takes here: a program that crashed has less time, and names no node where that is not enough.
  const patience = 300_000
  test.each([
    ['opens', withoutBias(), undefined, /^node ".*" \(LayerNormalization\)$/],
    ['runs', largestOfNothing, { x: [1, 2] }, /^node ".*" \(Max\)$/],
    // Not the first node, nor the last.
    ['runs', amidst(), { x: [1, 2] }, /^node "largest" \(Max\)$/],
  ])(
    'while it %s a model is traced to the node',
    async (_, model, numbers, found) => {
      writeFileSync(path, toBytes(encodeModel(model)))
      const given = Object.entries(numbers ?? {}).map(
        ([name, values]) => [name, tensorOf('float32', [values.length], values)] as const,
      )
      const feeds = numbers && Object.fromEntries(given)
      expect(await findCrashSite(path, feeds, patience)).toMatch(found)
    },
    patience,
  )

  test('that does not happen is traced to no node', async () => {
    writeFileSync(path, toBytes(encodeModel(attentionModel())))
    expect(await findCrashSite(path, undefined, patience)).toBeUndefined()
  })
})

/** Every number of x beside every other. */
const allPairs: ModelMessage = {
  ...largestOfNothing,
  graph: {
    name: 'g',
    node: [
      node('Unsqueeze', ['x', 'axis'], ['column']),
      node('Add', ['x', 'column'], ['pairs']),
      node('ReduceMax', ['pairs'], ['y']),
    ],
    initializer: [
      {
        name: 'axis',
        dims: [1n],
        data_type: 7,
        raw_data: new Uint8Array(new BigInt64Array([1n]).buffer),
      },
    ],
    input: [valueInfo('x', 'n')],
    output: [valueInfo('y', 1, 1)],
  },
}

describe.runIf(isBuilt)('memory that there is not', () => {
  test('is not given to ONNX Runtime, which says so', () => {
    const x = Array.from({ length: 30_000 }, (_, index) => index % 7)
    const gigabyte = 2 ** 30
    const { stdout, signal } = crash(allPairs, { x }, gigabyte)
    expect(stdout).toMatch(
      /^opened\nTOO_LITTLE_MEMORY: .* asked for 3\.60 GB more at node .*\ncleaned up\n$/,
    )
    expect(signal).toBe(null)
  })
})

test('what attnc writes of inputs that are named as absent can be run', async () => {
  const file = materialise(importModel(withoutBias()))
  try {
    await using session = await openSession({ path: file.path, threads: 1 })
    expect(session.inputs.map(({ name }) => name)).toEqual(['ids'])
  } finally {
    file.dispose()
  }
})
