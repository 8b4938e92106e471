/** The package as its users get it: installed in an empty folder, run by npx, imported. */
import { execFileSync, spawnSync } from 'node:child_process'
import { cpSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { example, root } from '../commands/run-command.js'
import { install, type Packed, pack } from './packed.js'

let packed: Packed
let folder: string
let offline: string | undefined

beforeAll(() => {
  packed = pack()
  folder = mkdtempSync(join(tmpdir(), 'attnc-install-'))
  writeFileSync(join(folder, 'package.json'), '{"type": "module"}')
  offline = install(packed.tarball, folder)
  if (offline) process.stderr.write(`skipped: ${offline}\n`)
  cpSync(example, join(folder, 'model'), { recursive: true })
}, 300_000)

afterAll(() => {
  packed.dispose()
  rmSync(folder, { recursive: true, force: true })
})

const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
  version: string
}
// oclif looks for sources where tests run.
const env = { ...process.env, NODE_ENV: 'production' }
const run = (command: string, ...argv: string[]): string =>
  execFileSync(command, argv, { cwd: folder, encoding: 'utf8', stdio: 'pipe', env })

describe('the package', () => {
  it('has what it runs with and no sources or tests', () => {
    const names = execFileSync('tar', ['-tzf', packed.tarball], { encoding: 'utf8' }).split('\n')
    const tops = new Set(names.map((name) => name.split('/')[1]).filter(Boolean))
    expect([...tops].sort()).toEqual(
      ['LICENSE', 'README.md', 'bin', 'dist', 'oclif.manifest.json', 'package.json'].sort(),
    )
    expect(names).toContain('package/dist/help.txt')
    expect(names.filter((name) => /\.test\.|\/test\//.test(name))).toEqual([])
  })

  it('says its version and its first steps by npx', ({ skip }) => {
    if (offline) skip(offline)
    const agent = `attnc/${version} ${process.platform}-${process.arch} node-${process.version}`
    expect(run('npx', 'attnc', '--version')).toBe(`${agent}\n`)
    const help = run('npx', 'attnc')
    expect(help).toContain(agent)
    expect(help).toContain('START HERE')
    // What the build kept is what oclif says.
    expect(run('npx', 'attnc', '--help', '--help').replace(/\s+/g, ' ')).toBe(
      help.replace(/\s+/g, ' '),
    )
  })

  it('prunes the demo model and verifies what it wrote', ({ skip }) => {
    if (offline) skip(offline)
    const cheap = ['--criterion', 'magnitude', '--recover', 'none']
    run('npx', 'attnc', 'prune', 'model', ...cheap, '-o', 'smaller')
    expect(existsSync(join(folder, 'smaller/model.onnx'))).toBe(true)
    expect(run('npx', 'attnc', 'verify', 'smaller')).toContain('tokenizer')
  })

  it('is a library', ({ skip }) => {
    if (offline) skip(offline)
    const code = `
      import { inspect, loadModel } from 'attnc'
      const { layers } = await inspect(loadModel('model').model)
      console.log(layers)`
    expect(run(process.execPath, '--input-type=module', '-e', code)).toBe('4\n')
  })

  it('names the nearest command where one is mistyped', ({ skip }) => {
    if (offline) skip(offline)
    const { status, stderr } = spawnSync('npx', ['attnc', 'prnue', 'model'], {
      cwd: folder,
      encoding: 'utf8',
      env,
    })
    expect(status).toBe(2)
    expect(stderr).toContain('attnc prune')
  })
})
