/** The step for CI on the demo model: fails for the right reason and says so on the job page. */
import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import Eval from '../../commands/eval.js'
import Prune from '../../commands/prune.js'
import { summaryText } from '../../src/cli/summary.js'
import { shellWord } from '../../src/cli/text.js'
import { AttncError } from '../../src/errors.js'
import { example, root, runCommand } from '../commands/run-command.js'

let folder: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'attnc-gate-'))
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

const program = [
  process.execPath,
  '--import',
  import.meta.resolve('tsx'),
  join(root, 'test/cli/from-sources.ts'),
]

describe('the gate', () => {
  it('takes paths and arguments with spaces', () => {
    const node = join(folder, 'a node')
    symlinkSync(process.execPath, node)
    const { status, stderr } = spawnSync('bash', [join(root, 'bin/gate.sh')], {
      encoding: 'utf8',
      env: {
        ...process.env,
        ATTNC: `'${node}' -e 'process.stderr.write(JSON.stringify(process.argv.slice(1)))' --`,
        MODEL: 'a model',
        PLAN: 'a plan',
        OUTPUT: 'an output',
        DATA: 'some data',
        ARGUMENTS: '--start-token 3 --junit "a report"',
        FAIL_IF: 'perplexity > 5',
      },
    })
    expect(status).toBe(0)
    expect(stderr).toContain('["apply","a model","--plan","a plan","-o","an output","--force"]')
    expect(stderr).toContain(
      '"--start-token","3","--junit","a report","--fail-if","perplexity > 5"',
    )
  })

  it('carries out the plan, checks it, and fails with 5 for the condition that holds', () => {
    const plan = join(folder, 'plan.json')
    const slices = [{ dimension: 'layer.1.width', remove: Array.from({ length: 99 }, (_, i) => i) }]
    writeFileSync(plan, JSON.stringify({ format: 1, slices }))
    const { status, stderr } = spawnSync('bash', [join(root, 'bin/gate.sh')], {
      encoding: 'utf8',
      env: {
        ...process.env,
        ATTNC: program.map(shellWord).join(' '),
        MODEL: example,
        PLAN: plan,
        OUTPUT: join(folder, 'smaller'),
        DATA: join(example, 'eval.txt'),
        ARGUMENTS: '--text-mode paragraphs --samples 4',
        FAIL_IF: '\nperplexity>+0.001%\nperplexity<1\n',
        JUNIT: join(folder, 'attnc.xml'),
        SUMMARY: join(folder, 'summary.md'),
      },
    })
    expect(stderr).toContain('METRIC_MISSED')
    expect(status).toBe(5)
    expect(readFileSync(join(folder, 'attnc.xml'), 'utf8')).toContain('tests="2" failures="1"')
    const page = readFileSync(join(folder, 'summary.md'), 'utf8')
    expect(page.match(/^### .*$/gm)).toEqual([
      '### attnc apply: passed',
      '### attnc verify: passed',
      '### attnc eval: exit 5, METRIC_MISSED',
    ])
    expect(page).toMatch(/\*\*perplexity is \d/)
  }, 300_000)
})

describe('conditions that can’t be judged', () => {
  const text = join(example, 'eval.txt')
  const magnitude = ['--criterion', 'magnitude', '--recover', 'none', '--dry-run']

  it.each([
    [['--fail-if', 'perplexity>+5%'], 'EVAL_DATA_MISSING'],
    [['--fail-if', 'perplexity>fast', '--eval', text], 'CONDITION_FORMAT'],
    [['--fail-if', 'accuracy<0.9', '--eval', text], 'NO_LABELS'],
    [['--fail-if', 'cosine<-1%', '--eval', text], 'CONDITION_ALONE'],
    [['--fail-if', 'cosine<0.9', '--metric', 'perplexity', '--eval', text], 'METRIC_UNKNOWN'],
    [['--fail-if', 'size>0.8', '--eval', text], 'CONDITION_FORMAT'],
  ])('are refused by prune before calibration: %j', async (argv, code) => {
    // Calibration would ask for data.
    const { stdout, exitCode } = await runCommand(Prune, [example, '--dry-run', ...argv, '--json'])
    expect(JSON.parse(stdout)).toMatchObject({ error: { code } })
    expect(exitCode).toBe(2)
  })

  it('are refused by eval where a change has no original', async () => {
    const argv = [example, '--data', text, '--fail-if', 'perplexity>+5%', '--json']
    const { stdout, exitCode } = await runCommand(Eval, argv)
    expect(JSON.parse(stdout)).toMatchObject({ error: { code: 'CONDITION_ALONE' } })
    expect(exitCode).toBe(2)
  })

  it('need no data where they are on costs', async () => {
    const conditions = ['--fail-if', 'params>-1%', '--fail-if', 'kv>0.99x']
    const { stdout, exitCode } = await runCommand(Prune, [
      ...[example, ...magnitude, '--scope', 'feedForward', ...conditions, '--json'],
    ])
    const { conditions: found } = JSON.parse(stdout) as { conditions: { verdict: string }[] }
    expect(found.map(({ verdict }) => verdict)).toEqual(['pass', 'fail'])
    expect(exitCode).toBe(5)
  })
})

describe('a summary', () => {
  it('says why a run failed, as text and not as markup', () => {
    const error = new AttncError('METRIC_MISSED', 'metric', 'a|b is <5> `now`.', {
      suggestions: ['Try *this*.'],
    })
    const command = ['eval', 'my model/', '--fail-if', 'perplexity>+5%']
    expect(summaryText({ command, lines: ['', '```', 'x'], error, exitCode: 5 })).toBe(
      [
        '### attnc eval: exit 5, METRIC_MISSED',
        "`eval 'my model/' --fail-if 'perplexity>+5%'`",
        '**a\\|b is \\<5\\> \\`now\\`.**',
        '- Try \\*this\\*.',
        "```text\n'''\nx\n```",
        '',
      ].join('\n\n'),
    )
  })

  it('is refused at once where it can’t be written', async () => {
    const path = join(example, 'eval.txt', 'summary.md')
    const argv = [example, '--data', join(example, 'eval.txt'), '--summary', path, '--json']
    const { stdout, exitCode } = await runCommand(Eval, argv)
    expect(exitCode).toBe(2)
    expect(JSON.parse(stdout)).toMatchObject({ error: { code: 'REPORT_UNWRITABLE' } })
  })
})
