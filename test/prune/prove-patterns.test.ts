/** The proof of a pattern reaches lengths at which it hides something, however short the data are. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, it } from 'vitest'
import { portsOf } from '../../src/data/open-data.js'
import { randomBatches } from '../../src/data/random.js'
import { silentLog } from '../../src/log.js'
import { loadModel } from '../../src/model-folder/load.js'
import type { AttentionPatterns } from '../../src/plan/plan.js'
import { applyToFolder } from '../../src/prune/apply-to-folder.js'
import { examine } from '../../src/sparse/examine.js'
import { example } from '../commands/run-command.js'

const folder = mkdtempSync(join(tmpdir(), 'attnc-test-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const settings = { single: true, log: silentLog }
const planOf = (attention: readonly AttentionPatterns[]) => ({ parts: [{ slices: [], attention }] })

it('refuses a plan that drops a mask of the model’s own, which short data do not show', async () => {
  const [file, output] = [join(example, 'model.onnx'), join(folder, 'windowed')]
  const blocks = await examine(loadModel(file).model)
  const windowed = blocks.map(({ key, masks }) => ({ block: key, patterns: ['window:40'], masks }))
  const plan = planOf(windowed)
  await applyToFolder({ ...settings, source: loadModel(file), plan, output, as: 'mask' })

  const open = () => loadModel(join(output, 'model.onnx'))
  const found = await examine(open().model)
  expect(found.map(({ masks }) => masks?.kept.length)).toEqual(blocks.map(() => 1))
  const size = { sequenceLength: 12, batchSize: 2, samples: 2, vocabulary: 500, seed: 1 }
  const batches = randomBatches({ inputs: portsOf(open().model), ...size })
  expect(batches[0]?.ids[0]).toHaveLength(12)
  const prove = (keeps: boolean) => {
    const attention = found.map(({ key, masks }) => ({
      block: key,
      patterns: ['window:4096'],
      masks: masks && { ...masks, kept: keeps ? masks.kept : [] },
    }))
    const source = open()
    return applyToFolder({
      ...settings,
      source,
      plan: planOf(attention),
      output: undefined,
      batches,
    })
  }
  expect((await prove(true)).check?.largest).toBeLessThan(1e-4)
  await expect(prove(false)).rejects.toMatchObject({ code: 'NUMERIC_CHECK' })
}, 60_000)
