/** A model that lost tokens beside its original: each reads the data by its own tokenizer. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import Compare from '../../commands/compare.js'
import Eval from '../../commands/eval.js'
import Prune from '../../commands/prune.js'
import Report from '../../commands/report.js'
import type { EvalJson } from '../../src/cli/run-eval.js'
import type { ReportData } from '../../src/report/report-data.js'
import { example, runCommand, runJson } from './run-command.js'

const folder = mkdtempSync(join(tmpdir(), 'attnc-tokenizer-'))
const smaller = join(folder, 'smaller')
const text = join(example, 'eval.txt')
const few = ['--samples', '8', '--sequence-length', '64']
afterAll(() => rmSync(folder, { recursive: true, force: true }))

describe('a model of fewer tokens and its original', () => {
  let alone = 0
  beforeAll(async () => {
    const data = ['--data', join(example, 'calibration.txt'), '--samples', '16']
    await runJson(Prune, [example, '--pass', 'vocabulary', ...data, '-o', smaller])
    const { json } = await runJson<EvalJson>(Eval, [example, '--data', text, ...few])
    alone = 'value' in json ? json.value : Number.NaN
  }, 60_000)

  it('are evaluated in tokens of their own, with a warning where these differ', async () => {
    const argv = [smaller, '--reference', example, '--data', text, ...few]
    const { json } = await runJson<EvalJson>(Eval, argv)
    expect(json.reference).toMatchObject([{ metric: 'perplexity', value: alone }])
    const { stderr } = await runCommand(Eval, argv)
    expect(stderr).toContain('TOKENIZERS_DIFFER')
  })

  it('stand in the report with the same numbers', async () => {
    const measured = ['--eval', text, '--eval-samples', '8', '--sequence-length', '64']
    const page = join(folder, 'page.html')
    const { json } = await runJson<ReportData>(Report, [example, smaller, ...measured, '-o', page])
    expect(json.quality[0]).toMatchObject({ metric: 'perplexity', before: alone })
  })

  it('are not compared token by token where they cut a text in other ways', async () => {
    const argv = [example, smaller, '--data', text, ...few, '--json']
    const { stdout, exitCode } = await runCommand(Compare, argv)
    expect(JSON.parse(stdout)).toMatchObject({ error: { code: 'TOKENIZERS_DIFFER' } })
    expect(exitCode).toBe(2)
  })
})
