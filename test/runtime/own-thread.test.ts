/** The thread that recorded steps run on, by itself: a program of it, compiled here. */
import { execFileSync, spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'

const canRun = process.platform === 'linux' && spawnSync('g++', ['--version']).status === 0
if (!canRun) process.stderr.write('skipped: own-thread.cpp is compiled with g++ on Linux\n')

test.runIf(canRun)('keeps its promises', { timeout: 60_000 }, () => {
  const folder = mkdtempSync(join(tmpdir(), 'attnc-thread-'))
  try {
    const program = join(folder, 'own-thread')
    const source = join(import.meta.dirname, 'own-thread.cpp')
    execFileSync('g++', [
      '-std=c++17',
      '-O1',
      '-Wall',
      '-Wextra',
      source,
      '-pthread',
      '-o',
      program,
    ])
    const said = execFileSync(program, { encoding: 'utf8', timeout: 30_000 })
    expect(said.trim().split('\n')).toEqual([
      'one other thread does all work',
      'what the work throws is thrown to the caller',
      'the thread goes on after that, without throwing it again',
      'callers take turns and wait for their own work',
      'it is one thread while it lives',
      'it has ended when it is destroyed',
      'threads that were never called end as well',
    ])
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
})
