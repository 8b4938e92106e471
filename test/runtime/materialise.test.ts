/** Models as files: many at once, gone when they are done with or the process ends. */
import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import { expect, it } from 'vitest'
import { Model } from '../../src/graph/graph.js'
import { materialise } from '../../src/runtime/materialise.js'

it('keeps as many as there are with one listener, and removes each when it is let go', () => {
  const before = process.listenerCount('exit')
  const files = Array.from({ length: 30 }, () => materialise(new Model()))
  expect(process.listenerCount('exit')).toBe(before + 1)
  for (const { path, dispose } of files) {
    expect(existsSync(path)).toBe(true)
    dispose()
    dispose()
    expect(existsSync(dirname(path))).toBe(false)
  }
  expect(process.listenerCount('exit')).toBe(before)
})

it('leaves nothing when the process ends', () => {
  const root = resolve(import.meta.dirname, '../..')
  const script = `
    import { Model } from '${root}/src/graph/graph.js'
    import { materialise } from '${root}/src/runtime/materialise.js'
    for (let i = 0; i < 3; i++) console.log(materialise(new Model()).path)`
  const ran = spawnSync('npx', ['tsx', '--input-type=module', '-e', script], {
    cwd: root,
    encoding: 'utf8',
  })
  const paths = ran.stdout.trim().split('\n')
  expect(paths, ran.stderr).toHaveLength(3)
  for (const path of paths) expect(existsSync(path)).toBe(false)
}, 60_000)
