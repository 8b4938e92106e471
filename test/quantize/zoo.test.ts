/** Weights in fewer bits on models of other exporters: the proof holds, and nothing is counted twice. */
import { describe, expect, test } from 'vitest'
import { quantize } from '../../passes/quantize/index.js'
import type { QuantizeOptions } from '../../passes/quantize/options.js'
import { portsOf } from '../../src/data/open-data.js'
import { randomBatches } from '../../src/data/random.js'
import { silentLog } from '../../src/log.js'
import { readModel } from '../../src/model/model.js'
import { loadModel } from '../../src/model-folder/load.js'
import { applyToFolder } from '../../src/prune/apply-to-folder.js'
import { decidePlan } from '../../src/prune/decide.js'
import { sharedModel } from '../shared-models.js'

const cases: readonly (readonly [string, Partial<QuantizeOptions>, share: number])[] = [
  ['t5-dyn', { block: 16 }, 0.3],
  ['gpt2-fused', { block: 16, symmetric: true }, 0.3],
  ['opt-ts', { precision: 'int8', block: 32 }, 0.5],
  ['bert-dyn', { precision: 'qdq' }, 0.7],
  ['t5-dyn', { precision: 'qdq' }, 0.7],
  ['llama-gqa-nbits', { block: 16 }, 0.8],
  ['bert-dyn-fused', { precision: 'float16' }, 0.55],
  ['llama-gqa-packed', { precision: 'float16' }, 0.55],
  ['mixtral-ts', { precision: 'float16' }, 0.7],
]
const present = cases.filter(([name]) => sharedModel(`zoo/${name}`) !== undefined)

describe.skipIf(present.length === 0)('in the zoo (skipped where ../shared is absent)', () => {
  test.each(present)('%s with %o', async (name, options, share) => {
    const load = () => loadModel(sharedModel(`zoo/${name}`) as string)
    const passes = [quantize({ ...options, rounding: 'nearest' })]
    const { model } = load()
    const batches = randomBatches({
      inputs: portsOf(model),
      vocabulary: readModel(model.graph).vocabulary,
      sequenceLength: 8,
      batchSize: 2,
      samples: 4,
      seed: 0,
    })
    const common = { single: true, batches, log: silentLog }
    const { plan } = await decidePlan({ ...common, source: load(), passes })
    const result = await applyToFolder({ ...common, source: load(), plan, output: undefined })
    const { before, after, check } = result
    expect(check?.largest).toBeLessThanOrEqual(options.precision === 'float16' ? 1e-2 : 1e-5)
    // Rounded, a vector of a few numbers may look as if people had written it.
    expect(Math.abs(after.parameters / before.parameters - 1)).toBeLessThan(1e-3)
    expect(after.flopsPerToken).toBe(before.flopsPerToken)
    expect(after.bytes).toBeLessThan(share * before.bytes)
  })
})
