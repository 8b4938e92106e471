/**
 * Sparse attention on every model of the zoo: with all keys it is the dense model, with few it is the dense
 * model with the mask added; what can't be rewritten says why. ATTNC_FULL=1 tries few keys everywhere.
 */
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import type { Model } from '../../src/graph/graph.js'
import { loadModel } from '../../src/model-folder/load.js'
import { applyPart } from '../../src/plan/apply.js'
import { examine } from '../../src/sparse/examine.js'
import { difference, modelsIn, readFeeds, runModel, zooFolder } from '../zoo/compare.js'

const models = modelsIn(zooFolder)
const isFull = process.env['ATTNC_FULL'] === '1'
const title = `sparse attention in the zoo (skipped where ${zooFolder} is absent)`
const few = 'window:6+sinks:2+block:16'

/** Probabilities that are quantised are no product's plain operand. */
const dense = new Set(['bert-qdq', 'llama-qdq'])

describe.skipIf(models.length === 0)(title, { timeout: 300_000 }, () => {
  it.each(models)('%s', async (name) => {
    const folder = join(zooFolder, name)
    const open = (): Model => loadModel(folder).model
    const blocks = await examine(open())
    const able = blocks.filter(({ reason }) => reason === undefined)
    for (const { kind, reason } of blocks)
      if (kind === 'self' && !dense.has(name)) expect(reason).toBeUndefined()
    expect(able.length > 0).toBe(!dense.has(name))
    if (able.length === 0) return
    const feeds = [readFeeds(folder, open().graph)]
    const run = async (pattern: string, as: 'slice' | 'mask') => {
      const model = open()
      const attention = able.map(({ key, masks }) => ({ block: key, patterns: [pattern], masks }))
      applyPart(model.graph, { slices: [], attention }, { as })
      return (await runModel(model, feeds))[0] ?? {}
    }
    const [expected] = await runModel(open(), feeds)
    expect(difference(await run('window:4096+sinks:16', 'slice'), expected ?? {})).toBeLessThan(
      1e-5,
    )
    if (!isFull && models.indexOf(name) % 4 !== 1) return
    expect(difference(await run(few, 'slice'), await run(few, 'mask'))).toBeLessThan(1e-5)
  })
})
