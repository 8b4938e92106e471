import { execFileSync, spawn } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { afterAll, describe, expect, it } from 'vitest'
import { writeWhole } from '../src/write-whole.js'

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
