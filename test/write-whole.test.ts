import { execFileSync, spawn } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { afterAll, describe, expect, it } from 'vitest'
import { makeFolder, writeWhole } from '../src/write-whole.js'

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
