/** Ctrl-C at any moment: 130, and nothing left behind. Runs the built program as users do. */
import { spawn, spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { example, root } from '../commands/run-command.js'

const isBuilt = existsSync(join(root, 'dist/commands/prune.js'))
if (!isBuilt)
  process.stderr.write('skipped: Ctrl-C is tested on the built program; run npm run build.\n')

let folder: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'attnc-interrupt-'))
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

/** Sends SIGINT after a while; the temporary folder of the program is `folder`/tmp. */
async function interruptAfter(
  delayMs: number,
): Promise<{ code: number | null; signal: string | null }> {
  const words = [
    'prune',
    example,
    '--data',
    join(example, 'calibration.txt'),
    '-o',
    join(folder, 'out'),
  ]
  const child = spawn(process.execPath, [join(root, 'bin/run.js'), ...words], {
    env: { ...process.env, TMPDIR: folder },
    stdio: 'ignore',
  })
  const timer = setTimeout(() => child.kill('SIGINT'), delayMs)
  return new Promise((resolve) => {
    child.on('exit', (code, signal) => {
      clearTimeout(timer)
      resolve({ code, signal })
    })
  })
}

describe.runIf(isBuilt)('Ctrl-C', () => {
  it.each([150, 700, 1500, 3000])('%i ms into pruning leaves nothing behind', async (delayMs) => {
    const { code, signal } = await interruptAfter(delayMs)
    // Before Node itself has begun, the system ends it: shells call that 130 as well.
    expect(signal === 'SIGINT' ? 130 : code).toBe(130)
    expect(readdirSync(folder)).toEqual([])
  })

  it('is an error in JSON while the program is still being loaded', () => {
    // The program's first listener is that of bin/run.js.
    const early =
      "process.once('newListener', (event) => event === 'SIGINT' && setImmediate(() => process.kill(process.pid, 'SIGINT')))"
    const { status, stdout } = spawnSync(
      process.execPath,
      [
        ...['--import', `data:text/javascript,${encodeURIComponent(early)}`],
        ...[join(root, 'bin/run.js'), 'inspect', example, '--json'],
      ],
      { encoding: 'utf8' },
    )
    expect(status).toBe(130)
    expect(JSON.parse(stdout)).toMatchObject({ error: { code: 'INTERRUPTED', suggestions: [] } })
  })
})
