import { execFileSync, spawn, spawnSync } from 'node:child_process'
import {
  existsSync,
  lstatSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { afterAll, describe, expect, it } from 'vitest'
import { checkWritable, makeFolder, writeWhole } from '../src/write-whole.js'

const folder = mkdtempSync(join(tmpdir(), 'attnc-write-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

describe('A file that is written whole', () => {
  it('replaces the one before and leaves nothing beside it', () => {
    const path = join(folder, 'made/report.html')
    writeWhole(path, 'first')
    writeWhole(path, 'second')
    expect(readFileSync(path, 'utf8')).toBe('second')
    expect(readdirSync(join(folder, 'made'))).toEqual(['report.html'])
  })

  it("has a name, which is not a folder's", () => {
    expect(() => checkWritable('')).toThrow(expect.objectContaining({ code: 'OUTPUT_MISSING' }))
    for (const path of [folder, join(folder, 'new/')])
      expect(() => checkWritable(path)).toThrow(
        expect.objectContaining({ code: 'OUTPUT_NOT_A_FILE' }),
      )
  })

  it.skipIf(process.platform === 'win32')('goes into a pipe that stays one', async () => {
    const path = join(folder, 'pipe')
    execFileSync('mkfifo', [path])
    const reader = spawn('cat', [path])
    const read = text(reader.stdout)
    writeWhole(path, 'said')
    expect(await read).toBe('said')
    expect(statSync(path).isFIFO()).toBe(true)
  })
})

describe.skipIf(process.platform === 'win32')('What stands for another file', () => {
  it('goes on standing for it: a link', () => {
    const [link, real] = [join(folder, 'link'), join(folder, 'elsewhere/real')]
    writeWhole(real, 'first')
    symlinkSync(real, link)
    writeWhole(link, 'second')
    expect(lstatSync(link).isSymbolicLink()).toBe(true)
    expect(readFileSync(real, 'utf8')).toBe('second')
    expect(readdirSync(join(folder, 'elsewhere'))).toEqual(['real'])
  })

  const writes = (path: string): string =>
    `import { checkWritable, writeWhole } from './src/write-whole.ts'
     checkWritable('${path}'); writeWhole('${path}', 'said')`
  const run = [process.execPath, '--import', 'tsx', '--input-type=module', '-e']

  it.runIf(existsSync('/dev/stdout'))('goes on standing for it: a name of what is open', () => {
    const path = join(folder, 'printed')
    const [node = '', ...words] = [...run, writes('/dev/stdout')]
    spawnSync(node, words, { stdio: ['ignore', openSync(path, 'w'), 'inherit'] })
    expect(readFileSync(path, 'utf8')).toBe('said')
    expect(lstatSync('/dev/stdout').isSymbolicLink()).toBe(true)
  })

  const hasMounts = spawnSync('unshare', ['-m', 'true']).status === 0
  if (!hasMounts) process.stdout.write('mounted files: skipped, this user may not mount any\n')
  it.runIf(hasMounts)('goes on standing for it: a file that is mounted by itself', () => {
    const [inside, outside] = [join(folder, 'inside'), join(folder, 'outside')]
    for (const path of [inside, outside]) writeFileSync(path, '')
    const script = `mount --bind '${outside}' '${inside}' && "$@"`
    spawnSync('unshare', ['-m', 'bash', '-c', script, 'bash', ...run, writes(inside)])
    expect(readFileSync(outside, 'utf8')).toBe('said')
    expect(readdirSync(folder).filter((name) => name.endsWith('.tmp'))).toEqual([])
  })
})

describe('a folder', () => {
  it('is made with those above it, and the first that was is said', () => {
    expect(makeFolder(join(folder, 'a/b/c'))).toBe(join(folder, 'a'))
    expect(makeFolder(join(folder, 'a/b/c'))).toBe(undefined)
    expect(makeFolder(join(folder, 'a/b/d'))).toBe(join(folder, 'a/b/d'))
  })

  it.skipIf(process.platform !== 'linux')('that a system does not make is refused at once', () => {
    expect(() => makeFolder('/proc/attnc/results')).toThrow(/ENOENT|EACCES/)
    expect(() => writeWhole('/proc/attnc/results/plan.json', '{}')).toThrow(
      expect.objectContaining({ code: 'OUTPUT_UNWRITABLE' }),
    )
  })
})
