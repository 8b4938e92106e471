/** A config that can't be read is said before anything is decided, and not after hours of work. */
import { copyFileSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, it } from 'vitest'
import { silentLog } from '../../src/log.js'
import { readModel } from '../../src/model/model.js'
import { loadModel } from '../../src/model-folder/load.js'
import { applyToFolder } from '../../src/prune/apply-to-folder.js'
import { prune } from '../../src/prune/prune.js'

const folder = mkdtempSync(join(tmpdir(), 'attnc-config-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))
for (const file of ['model.onnx', 'weights.bin'])
  copyFileSync(join('examples/tiny-stories', file), join(folder, file))
writeFileSync(join(folder, 'config.json'), '{"num_attention_heads": 6,')

const refusal = { code: 'CONFIG_UNREADABLE', message: expect.stringContaining('config.json') }

it('stops pruning before a pass is asked', async () => {
  const asked: string[] = []
  const pass = {
    name: 'asked',
    phase: 'cut' as const,
    check: () => void asked.push('check'),
    decide: async () => ({ slices: [] }),
  }
  const source = loadModel(folder)
  const output = join(folder, 'out')
  const running = prune({ source, passes: [pass], output, single: false, log: silentLog })
  await expect(running).rejects.toMatchObject(refusal)
  expect(asked).toEqual([])
})

it('stops a plan before any part of it', async () => {
  const source = loadModel(folder)
  const plan = { parts: [{ slices: [{ dimension: 'layer.0.width', remove: [0] }] }] }
  const running = applyToFolder({ source, plan, output: undefined, single: false, log: silentLog })
  await expect(running).rejects.toMatchObject(refusal)
  expect(readModel(source.model.graph).feedForward[0]?.width).toBe(512)
})
