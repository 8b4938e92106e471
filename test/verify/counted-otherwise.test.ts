/** Configs of some families count heads in their own way: that breaks no promise, a size that was right does. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
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
const root = mkdtempSync(join(tmpdir(), 'attnc-otherwise-'))
afterAll(() => rmSync(root, { recursive: true, force: true }))

const configCheck = async (path: string) =>
  (await verify({ path, log: silentLog, threads: 1 }))
    .report()
    .checks.find(({ check }) => check === 'configs')

it('a number of heads that never was the graph’s is left to the family', async () => {
  const model = build((b) => {
    const x = b.input('x', ['batch', S, C])
    const split = (): Value => b.transpose(b.reshape(b.linear(x, C, C), 0, S, H, D), 0, 2, 1, 3)
    const scores = b.op('MatMul', [split(), b.transpose(split(), 0, 1, 3, 2)])
    const context = b.op('MatMul', [b.op('Softmax', [scores], { axis: -1 }), split()])
    return b.op('Add', [x, b.linear(b.reshape(b.transpose(context, 0, 2, 1, 3), 0, S, C), C, C)])
  })
  writeFileSync(join(root, 'model.onnx'), bytesOf(model))
  const config = { num_attention_heads: 2 * H, num_key_value_heads: H }
  writeFileSync(join(root, 'config.json'), JSON.stringify(config))
  expect(await configCheck(root)).toMatchObject({
    result: 'passed',
    detail: '1 sizes as the graph has them; num_attention_heads counted otherwise',
  })
  const output = join(root, 'out')
  const slices = [{ dimension: 'layer.0.keyValueHeads', remove: [1] }]
  const plan = { parts: [{ slices }] }
  await applyToFolder({ source: loadModel(root), plan, output, single: false, log: silentLog })
  expect(await configCheck(output)).toMatchObject({ result: 'passed' })
  const cut = JSON.parse(readFileSync(join(output, 'config.json'), 'utf8'))
  expect(cut).toMatchObject({ num_attention_heads: 2 * H, num_key_value_heads: H - 1 })
  writeFileSync(join(output, 'config.json'), JSON.stringify({ ...cut, num_key_value_heads: H }))
  expect(await configCheck(output)).toMatchObject({ result: 'failed' })
})
