/** Results that are sent to a file on a full disk: a plain error, no stack. /dev/full is such a file. */
import { spawnSync } from 'node:child_process'
import { existsSync, openSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { example, root } from '../commands/run-command.js'

const hasFull = existsSync('/dev/full')
if (!hasFull) process.stderr.write('skipped: this system has no /dev/full\n')
const isBuilt = existsSync(join(root, 'dist/commands/inspect.js'))
if (!isBuilt) process.stderr.write('skipped in part: the program is not built; run npm run build\n')

const commands = [
  ['--version'],
  ...(isBuilt
    ? [
        ['inspect', example],
        ['inspect', example, '--json'],
      ]
    : []),
]

test.runIf(hasFull).each(commands.map((words) => [words.join(' '), words] as const))(
  'attnc %s > /dev/full',
  (_, words) => {
    const { stderr, status } = spawnSync(process.execPath, [join(root, 'bin/run.js'), ...words], {
      stdio: ['ignore', openSync('/dev/full', 'w'), 'pipe'],
      encoding: 'utf8',
    })
    expect(stderr).toMatch(/^ {4}Error: The results can't be written to stdout: ENOSPC.*\n {4}Code/)
    expect(stderr).not.toMatch(/\n +at /)
    expect(status).toBe(1)
  },
)
