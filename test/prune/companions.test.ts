/** A folder of several models: those of the same weights are cut together, others are carried along. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, it } from 'vitest'
import type { Model } from '../../src/graph/graph.js'
import type { Log } from '../../src/log.js'
import { silentLog } from '../../src/log.js'
import { readModel } from '../../src/model/model.js'
import { loadFrom, loadModel } from '../../src/model-folder/load.js'
import { openModelFolder } from '../../src/model-folder/model-folder.js'
import { applyToFolder } from '../../src/prune/apply-to-folder.js'
import { verify } from '../../src/verify/verify.js'
import { type Builder, build } from '../axes/builder.js'
import { bytesOf } from '../zoo/compare.js'

const [C, W] = [16, 24]

/** One feed-forward; `before` is called first and may draw other numbers. */
const model = (before: (b: Builder) => void = () => undefined): Model =>
  build((b) => {
    before(b)
    const x = b.input('x', ['batch', 'tokens', C])
    return b.op('Add', [x, b.linear(b.op('Relu', [b.linear(x, C, W)]), W, C)])
  })

const root = mkdtempSync(join(tmpdir(), 'attnc-companions-'))
afterAll(() => rmSync(root, { recursive: true, force: true }))

it('a decoder is cut with and without its cache, its encoder stays as it was', async () => {
  const [decoder, encoder] = [bytesOf(model()), bytesOf(model((b) => b.weight(5)))]
  writeFileSync(join(root, 'decoder_model.onnx'), decoder)
  writeFileSync(join(root, 'decoder_with_past_model.onnx'), decoder)
  writeFileSync(join(root, 'encoder_model.onnx'), encoder)
  writeFileSync(join(root, 'config.json'), JSON.stringify({ d_ff: W, num_heads: 4 }))
  const warnings: string[] = []
  const log: Log = { ...silentLog, warn: (code) => warnings.push(code) }
  const output = join(root, 'out')
  const remove = [0, 3, 5]
  const plan = { parts: [{ slices: [{ dimension: 'layer.0.width', remove }] }] }
  await applyToFolder({ source: loadModel(root), plan, output, single: false, log })
  const location = openModelFolder(output)
  const widths = location.models.map((file) => [
    file,
    readModel(loadFrom(location, file).model.graph).feedForward[0]?.width,
  ])
  expect(widths).toEqual([
    ['decoder_model.onnx', W - 3],
    ['decoder_with_past_model.onnx', W - 3],
    ['encoder_model.onnx', W],
  ])
  expect(warnings).toEqual(['MODEL_AS_IT_WAS'])
  const list = await verify({ path: output, against: root, log: silentLog, threads: 1 })
  expect(list.report().checks.filter(({ result }) => result === 'failed')).toEqual([])
})
