/** Weights that were re-fitted and then kept in fewer bits: the folder has not their numbers in between, and passes. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, it } from 'vitest'
import Prune from '../../commands/prune.js'
import { silentLog } from '../../src/log.js'
import { verify } from '../../src/verify/verify.js'
import { example, runCommand } from '../commands/run-command.js'

const root = mkdtempSync(join(tmpdir(), 'attnc-test-'))
afterAll(() => rmSync(root, { recursive: true, force: true }))

it.each([['int4'], ['qdq']])('%s', async (precision) => {
  const out = join(root, precision)
  const passes = ['--pass', 'amp', '--pass', 'quantize', '--precision', precision]
  const data = ['--data', 'random', '--samples', '4', '--sequence-length', '32', '--ratio', '0.3']
  const { exitCode, stderr } = await runCommand(Prune, [example, ...passes, ...data, '-o', out])
  expect(exitCode, stderr).toBe(0)
  const look = () => verify({ path: out, against: example, log: silentLog, threads: 1 })
  expect((await look()).report().checks.filter(({ result }) => result === 'failed')).toEqual([])
})
