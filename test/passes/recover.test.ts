/** Training as the last pass: it makes the model better, and its plan gives the same bytes again. */
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import Apply from '../../commands/apply.js'
import Prune from '../../commands/prune.js'
import type { PruneJson } from '../../src/cli/run-prune.js'
import { generate } from '../../src/generate/generate.js'
import { silentLog } from '../../src/log.js'
import { loadModel } from '../../src/model-folder/load.js'
import { example, runCommand, runJson } from '../commands/run-command.js'

const folder = mkdtempSync(join(tmpdir(), 'attnc-recover-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const text = join(example, 'calibration.txt')
const argv = [example, '--data', text, '--samples', '24', '--sequence-length', '32']
const few = [...argv, '--ratio', '0.7', '--provider', 'cpu', '--recover-updates', '6']

interface Report {
  readonly made: number
  readonly before: number
  readonly best: number
  readonly curve: readonly unknown[]
}

/** What the plan says of the last pass. */
function reportOf(json: PruneJson): Report {
  const last = json.format === 2 ? json.parts.at(-1) : undefined
  if (!last) throw new Error('the plan has one part')
  return last.findings?.training as Report
}

describe('prune --recover', () => {
  it.each([
    ['lora', 0, '3e-4'],
    ['distill', 8, '1e-4'],
  ] as const)(
    '%s is better on held-out data, in all models of the folder, and replayed to the same bytes',
    async (method, windows, rate) => {
      const [output, again] = [join(folder, method), join(folder, `${method}-again`)]
      const recovery = ['--recover', method, '--recite', String(windows), '--rate', rate]
      const plan = join(folder, `${method}.json`)
      const more = [...recovery, '-o', output, '--plan-out', plan]
      const { json } = await runJson<PruneJson>(Prune, [...few, ...more])
      const report = reportOf(json)
      expect(report.made).toBe(windows)
      expect(report.best).toBeLessThan(report.before)
      expect(report.curve.length).toBeGreaterThan(0)
      const ran = await runCommand(Apply, [example, '--plan', plan, '-o', again])
      expect(ran.error).toBeUndefined()
      expect(readdirSync(again)).toEqual(readdirSync(output))
      for (const file of readdirSync(output))
        expect(readFileSync(join(again, file)).equals(readFileSync(join(output, file))), file).toBe(
          true,
        )
      const options = {
        source: loadModel(output),
        prompt: 'Once upon a time',
        maxTokens: 8,
        log: silentLog,
      }
      const [cached, whole] = [
        await generate(options),
        await generate({ ...options, cache: false }),
      ]
      expect([cached.usesCache, whole.usesCache]).toEqual([true, false])
      expect(cached.tokens).toEqual(whole.tokens)
    },
    120_000,
  )

  it.each([
    [['--recover', 'lora', '--rate', 'fast'], 'NUMBER_FORMAT'],
    [['--recover', 'full', '--teacher-share', '2'], 'NUMBER_RANGE'],
    [['--recover', 'full', '--roles', 'biases'], 'NOTHING_TO_TRAIN'],
    [['--recover', 'ridge', '--rate', '1'], 'PASS_FLAG'],
  ])(
    '%j is refused',
    async (more, code) => {
      const ran = await runCommand(Prune, [...few, ...more, '-o', join(folder, 'refused')])
      expect(ran.error).toMatchObject({ code })
      expect(readdirSync(folder)).not.toContain('refused')
    },
    60_000,
  )
})
