import { describe, expect, test } from 'vitest'
import { amp } from '../../passes/amp/index.js'
import { silentLog } from '../../src/log.js'
import { loadModel } from '../../src/model-folder/load.js'
import { applyToFolder } from '../../src/prune/apply-to-folder.js'
import { decidePlan } from '../../src/prune/decide.js'
import { sharedModel } from '../shared-models.js'

const names = ['wav2vec2-ts', 'wav2vec2-dyn'].filter((name) => sharedModel(`zoo/${name}`))

describe.skipIf(names.length === 0)('models of sound (skipped where ../shared is absent)', () => {
  test.each(names)(
    '%s is proved on chance inputs that its convolutions leave something of',
    async (name) => {
      const load = () => loadModel(sharedModel(`zoo/${name}`) as string)
      const passes = [amp({ criterion: 'magnitude', recover: 'none', ratio: 0.3 })]
      const common = { single: true, log: silentLog }
      const { plan } = await decidePlan({ ...common, source: load(), passes })
      const result = await applyToFolder({ ...common, source: load(), plan, output: undefined })
      expect(result.after.parameters).toBeLessThan(result.before.parameters)
      expect(result.check?.largest).toBeLessThan(1e-5)
    },
  )
})
