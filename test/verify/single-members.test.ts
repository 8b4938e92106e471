/** What is left of a dimension may be a single member, which has no name any more; others go by its name then. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, it } from 'vitest'
import type { Value } from '../../src/graph/graph.js'
import { silentLog } from '../../src/log.js'
import { loadModel } from '../../src/model-folder/load.js'
import { applyToFolder } from '../../src/prune/apply-to-folder.js'
import { verify } from '../../src/verify/verify.js'
import { build } from '../axes/builder.js'
import { bytesOf } from '../zoo/compare.js'

const [C, H, D, S] = [16, 4, 4, 5]
const root = mkdtempSync(join(tmpdir(), 'attnc-single-'))
afterAll(() => rmSync(root, { recursive: true, force: true }))

it('two attention blocks beside each other, of which the first keeps one head', async () => {
  const model = build((b) => {
    const attend = (x: Value): Value => {
      const split = (value: Value): Value =>
        b.transpose(b.reshape(b.linear(value, C, C), 0, S, H, D), 0, 2, 1, 3)
      const scores = b.op('MatMul', [split(x), b.transpose(split(x), 0, 1, 3, 2)])
      const context = b.op('MatMul', [b.op('Softmax', [scores], { axis: -1 }), split(x)])
      return b.linear(b.reshape(b.transpose(context, 0, 2, 1, 3), 0, S, C), C, C)
    }
    const x = b.input('x', ['batch', S, C])
    const layer = (stream: Value): Value => {
      const seen = b.op('Add', [stream, b.op('Add', [attend(stream), attend(stream)])])
      return b.op('Add', [seen, b.linear(b.op('Relu', [b.linear(seen, C, 24)]), 24, C)])
    }
    return layer(layer(x))
  })
  writeFileSync(join(root, 'model.onnx'), bytesOf(model))
  const output = join(root, 'out')
  const slices = [
    { dimension: 'layer.0.keyValueHeads', remove: [0, 1, 3] },
    { dimension: 'layer.0.width', remove: [5] },
  ]
  const plan = { parts: [{ slices }] }
  await applyToFolder({ source: loadModel(root), plan, output, single: false, log: silentLog })
  const list = await verify({ path: output, against: root, log: silentLog, threads: 1 })
  expect(list.report().checks.filter(({ result }) => result === 'failed')).toEqual([])
})
