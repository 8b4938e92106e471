/** What bash completes, asked of bash itself. */
import { spawnSync } from 'node:child_process'
import { describe, expect, it } from 'vitest'
import { bashFunction } from '../../src/cli/bash-completion.js'

const script = bashFunction({
  bin: 'attnc',
  cacheDir: '',
  commands: [
    { id: 'prune', flags: { target: {}, ratio: {}, 'round-to': {} } },
    { id: 'calibrate', flags: { data: {} } },
    { id: 'calibrate:merge', flags: { output: {} } },
    { id: 'autocomplete:create', flags: { hidden: {} } },
  ],
})
const bash = (code: string) => spawnSync('bash', ['-c', code], { encoding: 'utf8' })
const hasBash = bash('true').status === 0
if (!hasBash) process.stderr.write('skipped: there is no bash\n')

describe.runIf(hasBash)('completion in bash', () => {
  it.each([
    [['pr'], ['prune']],
    [['c'], ['calibrate']],
    [
      ['prune', '--r'],
      ['--ratio', '--round-to'],
    ],
    [['prune', 'model/', '--ta'], ['--target']],
    [['prune', 'model/', '--ratio', '0.3', '--ro'], ['--round-to']],
    [['calibrate', 'model/', '--'], ['--data']],
    [['calibrate', 'merge', 'a.npz', '--'], ['--output']],
    // Nothing of ours: bash goes on with names of files.
    [['prune', 'mod'], []],
    [['nothing', '--'], []],
  ])('of %j is %j', (words, expected) => {
    const typed = ['attnc', ...words].map((word) => `'${word}'`).join(' ')
    const ask = `COMP_WORDS=(${typed}); COMP_CWORD=${words.length}; _attnc_autocomplete`
    const { stdout, stderr } = bash(`${script}\n${ask}\nprintf '%s\\n' "\${COMPREPLY[@]}"`)
    expect(stderr).toBe('')
    expect(stdout.split('\n').filter(Boolean)).toEqual(expected)
  })

  it('falls back to files', () => {
    expect(bash(`${script}\ncomplete -p attnc`).stdout).toContain('-o default')
  })
})
