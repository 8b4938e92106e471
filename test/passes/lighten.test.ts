/** `--pass lighten`: the same results by less work, alone and after other passes, from a plan the same bytes. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import Apply from '../../commands/apply.js'
import Prune from '../../commands/prune.js'
import { loadModel } from '../../src/model-folder/load.js'
import { readPlan } from '../../src/plan/plan-file.js'
import { runCommand } from '../commands/run-command.js'
import { sharedModel } from '../shared-models.js'

const folder = mkdtempSync(join(tmpdir(), 'attnc-lighten-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const count = (path: string, op: string): number =>
  [...loadModel(path).model.graph.nodes()].filter((node) => node.op === op).length

const shared = sharedModel('zoo/llama-past-ts')
const own = sharedModel('zoo/gpt2-op23')

describe.runIf(shared && own)('the pass', () => {
  it('takes out the copies of keys and values, and a plan does it again to the byte', async () => {
    const [first, second] = [join(folder, 'first'), join(folder, 'second')]
    const plan = join(folder, 'plan.json')
    const found = await runCommand(Prune, [
      shared as string,
      ...['--pass', 'lighten', '--plan-out', plan, '-o', first],
    ])
    expect(found.error).toBeUndefined()
    expect(readPlan(plan).parts).toMatchObject([{ pass: 'lighten', lighter: true, slices: [] }])
    const before = count(shared as string, 'Expand')
    expect(before).toBeGreaterThan(0)
    expect(count(first, 'Expand')).toBeLessThan(before)
    const again = await runCommand(Apply, [shared as string, '--plan', plan, '-o', second])
    expect(again.error).toBeUndefined()
    expect(readFileSync(join(second, 'model.onnx'))).toEqual(
      readFileSync(join(first, 'model.onnx')),
    )
  })

  it('goes with heads that go and weights in fewer bits', async () => {
    const out = join(folder, 'smaller')
    const found = await runCommand(Prune, [
      shared as string,
      ...['--pass', 'amp', '--pass', 'lighten', '--pass', 'quantize', '--precision', 'int8'],
      ...['--criterion', 'magnitude', '--recover', 'none', '--ratio', '0.3', '-o', out],
    ])
    expect(found.error).toBeUndefined()
    expect(count(out, 'Expand')).toBeLessThan(count(shared as string, 'Expand'))
  })

  it('says where there is nothing to do', async () => {
    const out = join(folder, 'same')
    const found = await runCommand(Prune, [own as string, '--pass', 'lighten', '-o', out])
    expect(found.exitCode).toBe(0)
    expect(found.stderr).toContain('NOTHING_LIGHTER')
  })
})
