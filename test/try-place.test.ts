/** Places that can't be written are told without permissions' word, which is nothing to root. */
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { tryPlace } from '../src/try-place.js'
import { example, root, runCommand } from './commands/run-command.js'

let folder: string
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'attnc-place-'))
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const hasMounts = spawnSync('unshare', ['-m', 'true']).status === 0
if (!hasMounts)
  process.stdout.write('places on other disks: skipped, this user may not mount any\n')

/** What `tryPlace` says of `path` on a disk mounted with `options`, after `prepare`. */
function onDisk(options: string, prepare = 'true'): string {
  const script = `import { tryPlace } from './src/try-place.ts'
    try { tryPlace(process.argv[1]); console.log('taken') } catch ({ code, message }) { console.log(code, message) }`
  const disk = join(folder, 'disk')
  mkdirSync(disk, { recursive: true })
  const { stdout, stderr } = spawnSync(
    'unshare',
    [
      '-m',
      'bash',
      '-c',
      `mount -t tmpfs -o ${options} tmpfs "$0" && { ${prepare}; } && "$@" && ls -A "$0"`,
      disk,
      process.execPath,
      '--import',
      'tsx',
      '--input-type=module',
      '-e',
      script,
      join(disk, 'made/later'),
    ],
    { cwd: root, encoding: 'utf8' },
  )
  return stdout + stderr
}

describe('A place is tried by a file that is gone again', () => {
  it('which an ordinary folder takes, and one that is not there yet', () => {
    tryPlace(join(folder, 'file'))
    tryPlace(join(folder, 'a/b/c'))
    expect(readdirSync(folder)).toEqual([])
  })

  it('and which nothing below a file takes', () => {
    const notes = join(folder, 'notes')
    writeFileSync(notes, '')
    expect(() => tryPlace(join(notes, 'a/b'))).toThrow(/"[^"]*notes" is a file, no folder/)
    rmSync(notes)
  })

  it.runIf(existsSync('/proc/self'))('and which /proc does not take', () => {
    expect(() => tryPlace('/proc/attnc/out')).toThrow(
      expect.objectContaining({ code: 'OUTPUT_UNWRITABLE', oclif: { exit: 2 } }),
    )
  })

  it.runIf(hasMounts)('and which disks take only as far as they can be written', () => {
    expect(onDisk('size=1m')).toBe('taken\n')
    expect(onDisk('ro')).toMatch(/^OUTPUT_UNWRITABLE .*can only be read \(EROFS\)/)
    const fill = '! head -c 70000 /dev/zero > "$0/others" 2> /dev/null'
    expect(onDisk('size=64k', fill)).toMatch(/^DISK_FULL .* is full \(ENOSPC\).*\nothers\n$/)
  })
})

/** A file of data that is not there is the next that would be refused: no work came before the place. */
const commands: readonly (readonly [name: string, words: readonly string[]])[] = [
  ['prune', ['-o', 'PLACE']],
  ['prune', ['--dry-run', '--plan-out', 'PLACE']],
  ['prune', ['--dry-run', '--junit', 'PLACE']],
  ['prune', ['-o', 'FREE', '--report', 'PLACE']],
  ['apply', ['--plan', 'nowhere', '-o', 'PLACE']],
  ['calibrate', ['-o', 'PLACE']],
  ['sweep', ['--ratios', '0.2', '--eval', 'nowhere', '-o', 'PLACE']],
  ['train', ['-o', 'PLACE']],
  ['train', ['-o', 'FREE', '--checkpoint', 'PLACE']],
  ['train', ['-o', 'FREE', '--adapter-out', 'PLACE']],
  ['eval', ['--junit', 'PLACE']],
]

describe.runIf(existsSync('/proc/self'))('Before anything is worked on', () => {
  it.each(commands)('%s %s is refused', async (name, words) => {
    const { default: command } = await import(`../commands/${name}.ts`)
    const place = (word: string): string =>
      ({ PLACE: '/proc/attnc/out', FREE: join(folder, 'free') })[word] ?? word
    const argv = [example, '--data', join(folder, 'nowhere.txt'), ...words.map(place)]
    const { error } = await runCommand(command, argv)
    expect(error).toMatchObject({ code: 'OUTPUT_UNWRITABLE', oclif: { exit: 2 } })
    expect(readdirSync(folder).filter((entry) => entry !== 'disk')).toEqual([])
  })

  it('report and fold are refused', async () => {
    for (const words of [
      ['report', example, example, '-o', '/proc/attnc/out', '--eval', 'nowhere'],
      ['fold', example, '--adapter', 'nowhere', '-o', '/proc/attnc/out'],
    ]) {
      const { default: command } = await import(`../commands/${words[0]}.ts`)
      const { error } = await runCommand(command, words.slice(1))
      expect(error).toMatchObject({ code: 'OUTPUT_UNWRITABLE', oclif: { exit: 2 } })
    }
  })
})
