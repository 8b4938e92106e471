/**
 * action.yml as a runner carries it out: its steps read from the file, inputs bound, each `run` a script for
 * the shell that it names, with what runners set and nothing else of the project's.
 */
import { spawnSync } from 'node:child_process'
import { cpSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { delimiter, dirname, join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { parse } from 'yaml'
import { example, root } from '../commands/run-command.js'
import { unreachable } from '../package/packed.js'

interface Step {
  readonly uses?: string
  readonly with?: Readonly<Record<string, unknown>>
  readonly run?: string
  readonly shell?: string
  readonly env?: Readonly<Record<string, string>>
  readonly 'working-directory'?: string
}

interface Action {
  readonly name: string
  readonly description: string
  readonly inputs: Readonly<
    Record<string, { description: string; required?: boolean; default?: string }>
  >
  readonly runs: { readonly using: string; readonly steps: readonly Step[] }
}

const action = parse(readFileSync(join(root, 'action.yml'), 'utf8')) as Action

/** What a checkout of the action has that its steps need. */
const checkout = [
  ...['.npmrc', 'action.yml', 'bin', 'commands', 'kernels', 'package.json', 'package-lock.json'],
  ...['passes', 'src', 'tsconfig.json', 'tsconfig.build.json'],
]

let place: string
beforeAll(() => {
  place = mkdtempSync(join(tmpdir(), 'attnc-action-'))
  for (const part of checkout)
    cpSync(join(root, part), join(place, 'attnc', part), {
      recursive: true,
      filter: (path) => !path.includes(join('kernels', 'prebuilt')),
    })
  cpSync(example, join(place, 'workspace', 'model'), { recursive: true })
  cpSync(join(root, 'examples/gate'), join(place, 'workspace', 'gate'), { recursive: true })
})
afterAll(() => rmSync(place, { recursive: true, force: true }))

/** Expressions of a composite action; a runner fails at those that it doesn't know. */
function bind(text: string, given: Readonly<Record<string, string>>): string {
  return text.replaceAll(/\$\{\{\s*(.*?)\s*\}\}/g, (_, expression: string) => {
    const input = /^inputs\.([\w-]+)$/.exec(expression)?.[1]
    if (expression === 'github.action_path') return join(place, 'attnc')
    const stated = input === undefined ? undefined : action.inputs[input]
    if (!stated || input === undefined) throw new Error(`"${expression}" means nothing here`)
    return given[input] ?? stated.default ?? ''
  })
}

/** One `run` step. */
function carryOut(step: Step, given: Readonly<Record<string, string>>) {
  if (step.shell !== 'bash') throw new Error(`a step names no shell but "${step.shell}"`)
  const workspace = join(place, 'workspace')
  const script = join(place, 'step.sh')
  writeFileSync(script, bind(step.run ?? '', given))
  const own = Object.entries(step.env ?? {}).map(([name, text]) => [name, bind(text, given)])
  const { PATH, HOME } = process.env
  return spawnSync('bash', ['--noprofile', '--norc', '-eo', 'pipefail', script], {
    cwd: step['working-directory'] ? bind(step['working-directory'], given) : workspace,
    encoding: 'utf8',
    env: {
      PATH: [dirname(process.execPath), PATH].join(delimiter),
      HOME,
      CI: 'true',
      GITHUB_ACTIONS: 'true',
      GITHUB_WORKSPACE: workspace,
      GITHUB_ACTION_PATH: join(place, 'attnc'),
      GITHUB_STEP_SUMMARY: join(place, 'summary.md'),
      ...Object.fromEntries(own),
    },
  })
}

const steps = action.runs.steps.filter(({ run }) => run !== undefined)

describe('action.yml', () => {
  it('is a composite action whose steps are shell, or a Node that attnc runs on', () => {
    expect(action.runs.using).toBe('composite')
    const others = action.runs.steps.filter(({ run }) => run === undefined)
    expect(others.map(({ uses }) => uses)).toEqual(['actions/setup-node@v4'])
    const { engines } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
    const least = Number(/\d+/.exec(engines.node)?.[0])
    expect(Number(others[0]?.with?.['node-version'])).toBeGreaterThanOrEqual(least)
    for (const { description } of Object.values(action.inputs)) expect(description).toMatch(/\w/)
    const optional = Object.values(action.inputs).filter(({ required }) => !required)
    expect(optional.every((input) => input.default !== undefined || 'default' in input)).toBe(true)
  })

  it('installs attnc, passes, and fails with 5 where the threshold is stricter', ({ skip }) => {
    const [install, gate] = steps
    if (!install || !gate || steps.length !== 2) throw new Error('the steps are others now')
    const built = carryOut(install, {})
    const offline = unreachable(built.stderr)
    if (built.status !== 0 && offline) skip(offline)
    expect(built.stderr).not.toMatch(/npm error/)
    expect(built.status).toBe(0)

    const given = {
      model: 'model',
      plan: 'gate/plan.json',
      data: 'model/eval.txt',
      arguments: '--text-mode paragraphs --samples 16',
    }
    const passed = carryOut(gate, given)
    expect(passed.stderr).not.toMatch(/Error/)
    expect(passed.status).toBe(0)
    expect(existsSync(join(place, 'workspace/smaller/model.onnx'))).toBe(true)
    expect(readFileSync(join(place, 'workspace/attnc.xml'), 'utf8')).toContain('failures="0"')

    const failed = carryOut(gate, { ...given, 'fail-if': 'perplexity>+0.1%\nparams>-50%' })
    expect(failed.status).toBe(5)
    expect(failed.stderr).toMatch(/perplexity (is|rose)[^\n]*/)
    expect(readFileSync(join(place, 'workspace/attnc.xml'), 'utf8')).toContain('tests="2"')
    // Both jobs wrote to one page here, as steps of one job do.
    const titles = readFileSync(join(place, 'summary.md'), 'utf8').match(/^### .*$/gm)
    expect(titles).toEqual([
      ...['apply', 'verify', 'eval'].map((command) => `### attnc ${command}: passed`),
      ...['apply', 'verify'].map((command) => `### attnc ${command}: passed`),
      '### attnc eval: exit 5, METRIC_MISSED',
    ])
  }, 600_000)
})
