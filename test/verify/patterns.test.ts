/** A model whose attention follows another pattern than its plan says is found out, though few tokens don't show it. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, it } from 'vitest'
import { silentLog } from '../../src/log.js'
import { readModel } from '../../src/model/model.js'
import { loadModel } from '../../src/model-folder/load.js'
import { saveModelFolder } from '../../src/model-folder/save.js'
import { applyToFolder } from '../../src/prune/apply-to-folder.js'
import { examine } from '../../src/sparse/examine.js'
import { verify } from '../../src/verify/verify.js'
import { example } from '../commands/run-command.js'

const root = mkdtempSync(join(tmpdir(), 'attnc-test-'))
afterAll(() => rmSync(root, { recursive: true, force: true }))

const against = join(example, 'model.onnx')
const [block] = readModel(loadModel(against).model.graph).attention
const heads = block?.heads ?? 0
const strided = (local: number) => `strided:8+local:${local}+block:16`

async function write(name: string, pattern: string): Promise<string> {
  const source = loadModel(against)
  const attention = (await examine(source.model)).map(({ key, masks }) => ({
    block: key,
    patterns: ['dense', ...Array<string>(heads - 1).fill(pattern)],
    masks,
  }))
  const plan = { parts: [{ slices: [], attention }] }
  const output = join(root, name)
  await applyToFolder({ source, plan, output, single: true, log: silentLog })
  return join(output, 'model.onnx')
}

async function failedIn(path: string): Promise<string[]> {
  const list = await verify({ path, single: true, against, log: silentLog, threads: 1 })
  const failed = list.report().checks.filter(({ result }) => result === 'failed')
  return failed.map(({ check }) => check)
}

it('by carrying out the plan on many tokens', async () => {
  const [made, other] = [await write('made', strided(2)), await write('other', strided(3))]
  expect(await failedIn(made)).toEqual([])
  // The attention of the one with the plan of the other.
  const { model } = loadModel(made)
  const { location, model: planned } = loadModel(other)
  model.metadata.set('attnc.plan', planned.metadata.get('attnc.plan') as string)
  const to = join(root, 'mixed')
  await saveModelFolder({ models: { 'model.onnx': model }, from: location, to })
  expect(await failedIn(join(to, 'model.onnx'))).toEqual(['replay'])
}, 60_000)
