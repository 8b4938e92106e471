/** Members of values go unless a cache shows them to hosts; a batch of pictures is no cache. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, it } from 'vitest'
import { amp } from '../../passes/amp/index.js'
import { portsOf } from '../../src/data/open-data.js'
import { randomBatches } from '../../src/data/random.js'
import type { Model, Value } from '../../src/graph/graph.js'
import { silentLog } from '../../src/log.js'
import { loadModel } from '../../src/model-folder/load.js'
import { decidePlan } from '../../src/prune/decide.js'
import { type Builder, build } from '../axes/builder.js'
import { bytesOf } from '../zoo/compare.js'

// C channels, T tokens
const [C, T] = [8, 16]
const root = mkdtempSync(join(tmpdir(), 'attnc-pictures-'))
afterAll(() => rmSync(root, { recursive: true, force: true }))

/** One head over pixels, [batch, T, C]. */
const attend = (b: Builder, x: Value, before?: Value): Value => {
  const [query, key, own] = [0, 1, 2].map(() => b.linear(x, C, C)) as [Value, Value, Value]
  const shares = b.op('Softmax', [b.op('MatMul', [query, b.transpose(key, 0, 2, 1)])], { axis: -1 })
  const value = before ? b.op('Add', [own, b.reshape(before, 0, T, C)]) : own
  return b.op('Add', [x, b.linear(b.op('MatMul', [shares, value]), C, C)])
}

const pixels = (b: Builder): Value => {
  const picture = b.input('picture', ['batch', 3, 4, 4])
  const seen = b.op('Conv', [picture, b.weight(C, 3, 1, 1), b.weight(C)])
  return b.transpose(b.reshape(seen, 0, C, T), 0, 2, 1)
}

it.each([
  ['a batch of pictures', (b: Builder) => attend(b, pixels(b)), true],
  [
    'values of before beside it',
    (b: Builder) => attend(b, pixels(b), b.input('past', ['batch', T, 1, C])),
    false,
  ],
])('%s', async (name, write, goes) => {
  const model: Model = build(write)
  const folder = mkdtempSync(join(root, 'model-'))
  writeFileSync(join(folder, 'model.onnx'), bytesOf(model))
  const source = loadModel(folder)
  const drawn = { sequenceLength: 1, batchSize: 4, samples: 8, seed: 5 }
  const decide = decidePlan({
    source,
    batches: randomBatches({ inputs: portsOf(source.model), ...drawn }),
    passes: [amp({ ratio: 0.3 })],
    single: true,
    log: silentLog,
    threads: 1,
  })
  if (!goes) return expect(decide, name).rejects.toThrow('No attention or feed-forward block')
  const { plan } = await decide
  const cut = plan.parts.flatMap(({ slices }) => slices.map(({ dimension }) => dimension))
  expect(cut).toEqual(['layer.0.valueHeadSize'])
})
