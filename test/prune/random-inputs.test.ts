/** Models whose inputs have to fit together: what is drawn by chance proves nothing, and that is said. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, it } from 'vitest'
import type { Batch } from '../../src/data/batch.js'
import { silentLog } from '../../src/log.js'
import { loadModel } from '../../src/model-folder/load.js'
import { tensorOf } from '../../src/onnx/numbers.js'
import { applyToFolder } from '../../src/prune/apply-to-folder.js'
import { verify } from '../../src/verify/verify.js'
import { build } from '../axes/builder.js'
import { bytesOf } from '../zoo/compare.js'

const [C, W] = [8, 24]
const root = mkdtempSync(join(tmpdir(), 'attnc-random-'))
afterAll(() => rmSync(root, { recursive: true, force: true }))

/** A feed-forward on rows of a table that only numbers below zero address. */
const model = build((b) => {
  const at = b.op('Add', [b.input('at', ['nodes'], 'int64'), b.whole(3)])
  const x = b.op('Add', [
    b.input('x', ['nodes', C]),
    b.op('Gather', [b.weight(3, C), at], { axis: 0 }),
  ])
  return b.op('Add', [x, b.linear(b.op('Relu', [b.linear(x, C, W)]), W, C)])
})

const batch: Batch = {
  feeds: {
    x: tensorOf('float32', [6, C], new Float32Array(6 * C).fill(0.5)),
    at: tensorOf('int64', [6], [-1, -2, -3, -1, -2, -3]),
  },
  tokenMask: undefined,
  ids: [],
}

it('asks for data where none were given, and verifies beside the original', async () => {
  writeFileSync(join(root, 'model.onnx'), bytesOf(model))
  const output = join(root, 'out')
  const plan = { parts: [{ slices: [{ dimension: 'layer.0.width', remove: [0, 2] }] }] }
  const options = { plan, output, single: false, log: silentLog, threads: 1 }
  await expect(applyToFolder({ ...options, source: loadModel(root) })).rejects.toMatchObject({
    code: 'RANDOM_INPUTS',
    suggestions: [expect.stringContaining('--data')],
  })
  const { check } = await applyToFolder({ ...options, source: loadModel(root), batches: [batch] })
  expect(check?.largest).toBeLessThan(1e-5)
  const list = await verify({ path: output, against: root, log: silentLog, threads: 1 })
  const { passed, checks } = list.report()
  expect(passed).toBe(true)
  expect(checks.find(({ check: name }) => name === 'runs')).toMatchObject({
    result: 'skipped',
    detail: expect.stringMatching(/^neither it nor its original runs on random inputs/),
  })
  // Alone it can't be told from a broken one.
  const alone = await verify({ path: output, log: silentLog, threads: 1 })
  expect(alone.report().passed).toBe(false)
})
