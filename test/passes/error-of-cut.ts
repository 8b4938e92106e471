/** How far a model that AMP cut is from the whole one, held against its mask on the way. */
import { expect } from 'vitest'
import { decideAmp } from '../../passes/amp/decide.js'
import { type AmpOptions, ampDefaults } from '../../passes/amp/options.js'
import { calibrate } from '../../src/calibrate/calibrate.js'
import type { Batch } from '../../src/data/batch.js'
import type { Model } from '../../src/graph/graph.js'
import { silentLog } from '../../src/log.js'
import { readModel } from '../../src/model/model.js'
import { applyPart } from '../../src/plan/apply.js'
import { checkSlice } from '../../src/prune/check.js'
import { difference, type Feeds, runModel } from '../zoo/compare.js'

/** Of a model with one dimension that loses `removed` members; `model` makes it anew each time. */
export async function errorOfCut(
  model: () => Model,
  feeds: Feeds,
  removed: number,
  options: Partial<AmpOptions>,
): Promise<number> {
  const batches: Batch[] = [{ feeds, tokenMask: undefined, ids: [] }]
  const dense = model()
  const view = readModel(dense.graph)
  const calibration = await calibrate(dense, { batches, moments: true, log: silentLog })
  const { slices, projections } = await decideAmp(
    { model: dense, view, batches, calibration, log: silentLog },
    { ...ampDefaults, ...options },
  )
  expect(slices.map(({ remove }) => remove.length)).toEqual([removed])
  const [sliced, masked] = [model(), model()]
  applyPart(masked.graph, { slices, projections }, { as: 'mask' })
  applyPart(sliced.graph, { slices, projections })
  const { largest } = await checkSlice(sliced, masked, batches, { log: silentLog })
  expect(largest).toBeLessThan(1e-4)
  const [[whole], [cut]] = [await runModel(model(), [feeds]), await runModel(sliced, [feeds])]
  return difference(cut ?? {}, whole ?? {})
}
