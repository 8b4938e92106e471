/** What CI reads of a run that stopped before anything could be judged. */
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, it } from 'vitest'
import Eval from '../../commands/eval.js'
import { writeFailure } from '../../src/cli/junit.js'
import { AttncError } from '../../src/errors.js'
import { example, runCommand } from '../commands/run-command.js'

const folder = mkdtempSync(join(tmpdir(), 'attnc-junit-'))
afterAll(() => rmSync(folder, { recursive: true }))

it('is the error as a case that failed', async () => {
  const path = join(folder, 'eval.xml')
  const { exitCode } = await runCommand(Eval, [example, '--data', 'nowhere.txt', '--junit', path])
  expect(exitCode).toBe(2)
  const xml = readFileSync(path, 'utf8')
  expect(xml).toContain('tests="1" failures="1"')
  expect(xml).toContain('There is no data at &quot;nowhere.txt&quot;. (DATA_MISSING)')
})

it('holds no characters that XML has not', () => {
  const path = join(folder, 'odd.xml')
  writeFailure(path, 'eval', new AttncError('ODD', 'model', 'a\u001b[31m<b>\u0000 ü 🎈\n'))
  expect(readFileSync(path, 'utf8')).toContain('a\uFFFD[31m&lt;b&gt;\uFFFD ü 🎈&#10; (ODD)')
})

it('is nothing of a run that was interrupted', () => {
  const path = join(folder, 'interrupted.xml')
  writeFailure(path, 'eval', new AttncError('INTERRUPTED', 'interrupted', 'Interrupted.'))
  expect(existsSync(path)).toBe(false)
})
