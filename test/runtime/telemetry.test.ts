import { spawnSync } from 'node:child_process'
import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, it } from 'vitest'

it('leaves nothing of ONNX Runtime’s telemetry in the temporary folder', () => {
  const folder = mkdtempSync(join(tmpdir(), 'attnc-silent-'))
  try {
    const script = `
      import { edit } from './src/graph/edit.ts'
      import { Model } from './src/graph/graph.ts'
      import { silentLog } from './src/log.ts'
      import { runBatches } from './src/runtime/batches.ts'
      const model = new Model()
      model.irVersion = 8
      model.opsets.set('', 17)
      edit(model.graph, 'test', (change) => {
        const x = change.addInput('x', 'float32', [1])
        change.expose(change.add('Neg', [x]))
      })
      const feeds = { x: { dataType: 'float32', dims: [1], data: Float32Array.of(2) } }
      await runBatches(model, [{ feeds }], { log: silentLog }, undefined, (results) => {
        if (results['test/Neg'].data[0] !== -2) process.exitCode = 1
      })`
    const { ORT_DISABLE_TELEMETRY: _, ...env } = process.env
    const done = spawnSync(
      process.execPath,
      ['--import', 'tsx', '--input-type=module', '--eval', script],
      { env: { ...env, TMPDIR: folder }, encoding: 'utf8' },
    )
    expect(done.stderr).toBe('')
    expect(done.status).toBe(0)
    expect(readdirSync(folder).filter((name) => !name.startsWith('tsx-'))).toEqual([])
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
})
