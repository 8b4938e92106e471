/**
 * Every example in README and docs is run as it stands: shell and TypeScript blocks, in a folder that has
 * what they call model/, text.txt, eval.txt and plan.json. A comment before a block says why one is not run:
 * `<!-- not run: reason -->`.
 */
import { execFileSync, spawnSync } from 'node:child_process'
import {
  chmodSync,
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { example, root } from '../commands/run-command.js'
import { type Packed, pack } from './packed.js'

interface Block {
  readonly language: string
  readonly code: string
  /** Why it is not run. */
  readonly reason: string | undefined
}

function blocksOf(text: string): Block[] {
  const pattern = /(?:<!-- not run: (.*?) -->\n)?^```(\w*)\n([\s\S]*?)^```/gm
  return [...text.matchAll(pattern)].map(([, reason, language = '', code = '']) => ({
    language,
    code,
    reason,
  }))
}

const documents = [
  'README.md',
  ...readdirSync(join(root, 'docs'), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.md') && !name.includes('node_modules'))
    .map((name) => join('docs', name)),
].map((name) => ({ name, blocks: blocksOf(readFileSync(join(root, name), 'utf8')) }))

const isRun = ({ language }: Block): boolean => ['sh', 'ts'].includes(language)
const cases = documents.flatMap(({ name, blocks }) =>
  blocks.filter(isRun).map((block, index) => ({ name: `${name}, block ${index + 1}`, block })),
)

let packed: Packed
let folder: string
const env = { ...process.env, NODE_ENV: 'production' }

beforeAll(() => {
  packed = pack()
  folder = mkdtempSync(join(tmpdir(), 'attnc-documents-'))
  cpSync(example, join(folder, 'model'), { recursive: true })
  // What the examples leave open is left to the quickest, as a project may.
  const defaults = { prune: { criterion: 'activation', recover: 'none' } }
  writeFileSync(join(folder, '.attncrc'), JSON.stringify(defaults))
  const stories = (file: string, bytes: number): void =>
    writeFileSync(join(folder, file), readFileSync(join(example, file), 'utf8').slice(0, bytes))
  stories('calibration.txt', 8000)
  stories('eval.txt', 3000)
  cpSync(join(folder, 'calibration.txt'), join(folder, 'text.txt'))
  const slices = [{ dimension: 'layer.1.width', remove: [0, 1, 2] }]
  writeFileSync(join(folder, 'plan.json'), JSON.stringify({ format: 1, slices }))
  mkdirSync(join(folder, 'node_modules'))
  symlinkSync(packed.folder, join(folder, 'node_modules/attnc'))
  mkdirSync(join(folder, 'bin'))
  symlinkSync(join(packed.folder, 'bin/run.js'), join(folder, 'bin/attnc'))
  chmodSync(join(packed.folder, 'bin/run.js'), 0o755)
}, 120_000)

afterAll(() => {
  packed.dispose()
  rmSync(folder, { recursive: true, force: true })
})

describe('documents', () => {
  it('mark their commands as such', () => {
    const bare = documents.flatMap(({ name, blocks }) =>
      blocks
        .filter(({ language, code }) => language === '' && /^(attnc|npm|npx) /.test(code))
        .map(({ code }) => `${name}: ${code}`),
    )
    expect(bare).toEqual([])
  })

  it.each(cases)(
    'are right in $name',
    ({ name, block: { language, code, reason } }) => {
      if (reason) {
        process.stderr.write(`skipped: ${name} (${reason})\n`)
        return
      }
      if (language === 'ts') {
        rmSync(join(folder, 'smaller'), { recursive: true, force: true })
        writeFileSync(join(folder, 'example.mts'), code)
        const tsx = import.meta.resolve('tsx')
        execFileSync(process.execPath, ['--import', tsx, 'example.mts'], { cwd: folder, env })
      } else for (const line of code.replaceAll('\\\n', ' ').split('\n')) runLine(line)
    },
    240_000,
  )
})

/** A line of shell; outputs of examples before it are in nobody's way. */
function runLine(line: string): void {
  for (const [, output = ''] of line.matchAll(/ -o (\S+)/g))
    rmSync(join(folder, output), { recursive: true, force: true })
  const path = `${join(folder, 'bin')}${delimiter}${process.env['PATH']}`
  const options = { cwd: folder, encoding: 'utf8', env: { ...env, PATH: path } } as const
  const { status, stderr } = spawnSync('bash', ['-c', line], options)
  expect(status, `${line}\n${stderr}`).toBe(0)
}
