import { expect, test } from 'vitest'
import { quantize } from '../../passes/quantize/index.js'
import { sparsify } from '../../passes/sparsify/index.js'
import { silentLog } from '../../src/log.js'
import { loadModel } from '../../src/model-folder/load.js'
import { applyToFolder } from '../../src/prune/apply-to-folder.js'
import { decidePlan } from '../../src/prune/decide.js'
import { inferShapes } from '../../src/shape/infer.js'
import { example } from '../commands/run-command.js'

test("operators of attnc's own go to half precision, with the function that they call", async () => {
  const load = () => loadModel(example)
  const passes = [sparsify({ pattern: 'window:16+sinks:4' }), quantize({ precision: 'float16' })]
  const common = { single: true, log: silentLog }
  const { plan } = await decidePlan({ ...common, source: load(), passes })
  const source = load()
  const { check } = await applyToFolder({ ...common, source, plan, output: undefined })
  expect(check?.largest).toBeLessThan(1e-2)
  const { model } = source
  const shapes = inferShapes(model.graph)
  const own = [...model.graph.nodes()].filter(({ domain }) => domain === 'attnc')
  expect(own.length).toBeGreaterThan(0)
  for (const { inputs, outputs } of own)
    expect([inputs[0], outputs[0]].map((each) => each && shapes.dataType(each))).toEqual([
      'float16',
      'float16',
    ])
  // None that nothing calls is left behind.
  expect(model.functions.map(({ overload }) => overload)).toEqual([
    ...new Set(own.map(({ overload }) => overload)),
  ])
})
