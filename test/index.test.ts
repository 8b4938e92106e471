/** The main job with nothing but what the package exports. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { expect, it } from 'vitest'
import {
  amp,
  ampDefaults,
  evaluate,
  inspect,
  type Log,
  loadModel,
  openData,
  prune,
  silentLog,
} from '../src/index.js'

const example = resolve(import.meta.dirname, '../examples/tiny-stories')

it('prunes a model, tells its progress and writes a folder that loads', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'attnc-library-'))
  try {
    const source = loadModel(example)
    const data = { model: source.model, folder: example, sequenceLength: 128, samples: 4 }
    const batches = openData(join(example, 'calibration.txt'), data)
    const steps = new Set<string>()
    const log: Log = { ...silentLog, progress: (step) => steps.add(step) }
    const output = join(folder, 'smaller')
    const passes = [amp({ ratio: 0.3, scope: 'heads' })]
    const result = await prune({ source, batches, passes, output, single: false, log })
    const found = await inspect(loadModel(output).model)
    expect(found.parameters).toBe(result.after.parameters)
    expect(result.after.parameters).toBeLessThan(result.before.parameters)
    expect(steps).toContain('calibrating')
    const [measured] = await evaluate(loadModel(output).model, {
      batches,
      metrics: ['perplexity'],
      log,
    })
    expect(measured?.value).toBeGreaterThan(1)
    expect(ampDefaults.ratio).toBe(0.2)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
})
