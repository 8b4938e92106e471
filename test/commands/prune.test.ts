import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import Apply from '../../commands/apply.js'
import Doctor from '../../commands/doctor.js'
import Eval from '../../commands/eval.js'
import Prune from '../../commands/prune.js'
import Verify from '../../commands/verify.js'
import type { FolderJson } from '../../src/cli/prune-json.js'
import type { Diagnosis } from '../../src/cli/run-doctor.js'
import type { PruneJson } from '../../src/cli/run-prune.js'
import { example, runCommand, runJson } from './run-command.js'

let folder: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'attnc-prune-'))
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

const text = join(example, 'calibration.txt')
const cheap = ['--criterion', 'magnitude', '--recover', 'none', '--provider', 'cpu']
const few = ['--data', text, '--samples', '4', '--scope', 'heads', '--provider', 'cpu']

describe('prune', () => {
  it('prints a row a layer, the totals and where it wrote', async () => {
    const output = join(folder, 'smaller')
    const { stdout, error } = await runCommand(Prune, [example, ...cheap, '-o', output])
    expect(error).toBeUndefined()
    expect(stdout).toMatch(/layer .*width .*parameters/)
    expect(stdout).toMatch(/parameters +2\.02 M +1\.\d\d M +−/)
    expect(stdout).toContain(`Wrote ${output}: model.onnx, model_with_past.onnx`)
    expect(readdirSync(output)).toContain('plan.json')
  })

  it('calibrates on text of the model’s own where the user has none', async () => {
    const own = ['--data', 'self', '--samples', '4', '--sequence-length', '32', '--provider', 'cpu']
    const evaluated = ['--eval', join(example, 'eval.txt'), '--eval-samples', '8']
    const output = join(folder, 'smaller')
    const { json } = await runJson<PruneJson>(Prune, [example, ...own, ...evaluated, '-o', output])
    const [perplexity] = json.metrics
    const { json: blind } = await runJson<PruneJson>(Prune, [
      example,
      ...cheap,
      ...evaluated,
      '--dry-run',
    ])
    expect(perplexity?.value).toBeLessThan((blind.metrics[0]?.value ?? 0) / 4)
    const counted = await runCommand(Prune, [example, ...own, '--pass', 'vocabulary', '--dry-run'])
    expect(counted.error?.message).toContain('can’t be counted')
    const judged = await runCommand(Eval, [example, '--data', 'self'])
    expect(judged.error?.message).toContain('nothing else')
  })

  it('prints a dry run as a plan that gives the bytes of the run itself', async () => {
    const printed = await runJson<PruneJson>(Prune, [example, ...few, '--dry-run'])
    expect(printed.json.output).toBeNull()
    const plan = join(folder, 'plan.json')
    writeFileSync(plan, JSON.stringify(printed.json))
    const [one, other] = [join(folder, 'one'), join(folder, 'other')]
    await runJson<PruneJson>(Prune, [
      example,
      ...few,
      '-o',
      one,
      '--plan-out',
      join(folder, 'deep/mine.json'),
    ])
    expect(readdirSync(join(folder, 'deep')).sort()).toEqual(['mine.json', 'mine.npz'])
    const applied = await runJson<FolderJson>(Apply, [example, '--plan', plan, '-o', other])
    expect(applied.json.after).toEqual(printed.json.after)
    const weights = (output: string) => readFileSync(join(output, 'weights.bin'))
    expect(weights(other).equals(weights(one))).toBe(true)
    // The numbers of the plan are in the weights; a second copy would be as large.
    expect(readdirSync(one)).not.toContain('plan.npz')
    const plans = ['one/plan.json', 'other/plan.json', 'deep/mine.json'].map((file) => {
      const { projections } = JSON.parse(readFileSync(join(folder, file), 'utf8'))
      return projections.sha256 as string
    })
    expect(new Set(plans).size).toBe(1)
    const { json } = await runJson<{ passed: boolean; checks: { detail: string }[] }>(Verify, [
      one,
      '--against',
      example,
    ])
    expect(json.passed).toBe(true)
    expect(JSON.stringify(json.checks)).toMatch(/[1-9]\d* were re-fitted/)
  })

  it('runs passes one after the other, in a plan that gives the same bytes again', async () => {
    const [one, other] = [join(folder, 'one'), join(folder, 'other')]
    const passes = ['--pass', 'amp', '--pass', 'sparsify', '--pattern', 'window:64+sinks:16']
    await runJson<PruneJson>(Prune, [example, ...passes, ...cheap, '-o', one])
    const plan = join(one, 'plan.json')
    const written = JSON.parse(readFileSync(plan, 'utf8'))
    expect(written.parts.map(({ pass }: { pass: string }) => pass)).toEqual(['amp', 'sparsify'])
    expect(written.parts[1].attention).toHaveLength(4)
    await runJson<FolderJson>(Apply, [example, '--plan', plan, '-o', other])
    for (const file of ['model.onnx', 'model_with_past.onnx', 'plan.json'])
      expect(readFileSync(join(other, file)).equals(readFileSync(join(one, file)))).toBe(true)
  }, 180_000)

  it('protects layers and dimensions by name', async () => {
    const argv = [example, ...cheap, '--ratio', '50%', '--dry-run']
    const protect = ['--protect', 'layer 0', '--protect', 'layer.2.width', '--protect', '3']
    const { json } = await runJson<PruneJson>(Prune, [...argv, ...protect])
    expect(json.rows.map(({ dimension }) => dimension)).not.toContain('layer.2.width')
    expect(new Set(json.rows.map(({ layer }) => layer))).toEqual(new Set([1, 2]))
  })

  it('rounds widths', async () => {
    const argv = [example, ...cheap, '--scope', 'feedForward', '--round-to', 'auto', '--dry-run']
    const { json } = await runJson<PruneJson>(Prune, argv)
    expect(json.rows.map(({ kept }) => kept % 16)).toEqual(json.rows.map(() => 0))
  })

  it('fails with 5 where a condition holds, says so in JUnit and writes nothing', async () => {
    const [output, junit] = [join(folder, 'out'), join(folder, 'report.xml')]
    const gate = ['--eval', join(example, 'eval.txt'), '--eval-samples', '4']
    const conditions = ['--fail-if', 'perplexity>+9000%', '--fail-if', 'perplexity<1000']
    const argv = [example, ...cheap, ...gate, ...conditions, '--junit', junit, '-o', output]
    const { stdout, exitCode } = await runCommand(Prune, [...argv, '--json'])
    expect(exitCode).toBe(5)
    expect(JSON.parse(stdout)).toMatchObject({
      error: { code: 'METRIC_MISSED' },
      conditions: [{ missed: false }, { missed: true }],
    })
    expect(existsSync(output)).toBe(false)
    const xml = readFileSync(junit, 'utf8')
    expect(xml).toContain('tests="2" failures="1"')
    expect(xml).toContain('name="perplexity&lt;1000"')
  })

  it.each([
    ['a model that is not there', ['nowhere', '-o', 'out'], 3],
    ['no output', [example], 2],
    ['a ratio of 1', [example, '-o', 'out', '--ratio', '1'], 2],
    ['a condition without data', [example, '-o', 'out', '--fail-if', 'perplexity>3'], 2],
    ['a condition on nothing', [example, '-o', 'out', '--eval', text, '--fail-if', 'bleu>3'], 2],
    ['a layer that is not there', [example, '-o', 'out', '--protect', 'layer 7'], 2],
    ['data that is not there', [example, '-o', 'out', '--data', 'nowhere.txt'], 2],
    ['no data', [example, '-o', 'out'], 2],
    ['an unknown flag', [example, '-o', 'out', '--ration', '0.3'], 2],
    [
      'a provider that is not here',
      [example, ...few.slice(0, 6), '-o', 'out', '--provider', 'cuda'],
      7,
    ],
  ])('refuses %s and says what to do', async (_, argv, code) => {
    const output = join(folder, 'out')
    const own = argv.map((each) => (each === 'out' ? output : each))
    const { stdout, exitCode } = await runCommand(Prune, [...own, '--json'])
    const { error } = JSON.parse(stdout) as { error: { code: string; message: string } }
    expect({ exitCode, ...error }).toMatchObject({ exitCode: code })
    expect(error.message).not.toBe('')
    expect(existsSync(output)).toBe(false)
  })
})

describe('eval', () => {
  it('prints one metric at the top, and both models where there is a reference', async () => {
    const data = ['--data', join(example, 'eval.txt'), '--text-mode', 'paragraphs']
    const argv = [example, ...data, '--samples', '8']
    const alone = await runJson<{ format: number; metric: string; value: number }>(Eval, argv)
    expect(alone.json).toMatchObject({ format: 1, metric: 'perplexity', samples: 8 * 255 })
    const both = await runJson(Eval, [...argv, '--reference', example])
    const { metric, value } = alone.json
    expect(both.json).toMatchObject({ value, reference: [{ metric, value }] })
  })
})

describe('doctor', () => {
  it('says of each provider whether it works, and why not', async () => {
    const { json } = await runJson<Diagnosis>(Doctor, [])
    expect(json.providers.cpu).toEqual({ available: true })
    for (const each of Object.values(json.providers))
      expect(each.available || each.reason).toBeTruthy()
  })
})
