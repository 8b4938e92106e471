/** AMP on a real vision transformer: budgets, determinism, criteria, what a re-fit is worth. */
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { decideAmp } from '../../passes/amp/decide.js'
import { type AmpOptions, ampDefaults } from '../../passes/amp/options.js'
import { calibrate } from '../../src/calibrate/calibrate.js'
import type { Calibration } from '../../src/calibrate/state.js'
import type { Batch } from '../../src/data/batch.js'
import { openData } from '../../src/data/open-data.js'
import { evaluate } from '../../src/evaluate/evaluate.js'
import { silentLog } from '../../src/log.js'
import { readModel } from '../../src/model/model.js'
import { type LoadedModel, loadModel } from '../../src/model-folder/load.js'
import { applyPart } from '../../src/plan/apply.js'
import { planFiles, readPlan } from '../../src/plan/plan-file.js'

const folder = '../shared/models/digits-vit'
const isThere = existsSync(`${folder}/model.onnx`)
if (!isThere) process.stdout.write(`AMP on digits-vit is skipped: there is no ${folder}\n`)

const data = (source: LoadedModel, file: string, samples: number): Batch[] =>
  openData(`${folder}/${file}`, { model: source.model, folder, batchSize: 64, samples })

interface Prepared {
  readonly source: LoadedModel
  readonly batches: readonly Batch[]
  readonly calibration: Calibration
}

async function prepare(): Promise<Prepared> {
  const source = loadModel(folder)
  const batches = data(source, 'calibration.npz', 256)
  const calibration = await calibrate(source.model, { batches, moments: true, log: silentLog })
  return { source, batches, calibration }
}

/** The options, without data to run on: everything comes from calibration. */
const decide = ({ source, calibration }: Prepared, options: Partial<AmpOptions>) =>
  decideAmp(
    { model: source.model, view: readModel(source.model.graph), calibration, log: silentLog },
    { ...ampDefaults, ...options },
  )

async function accuracyOf(decision: Awaited<ReturnType<typeof decide>>): Promise<number> {
  const { model, ...rest } = loadModel(folder)
  applyPart(model.graph, decision)
  const batches = data({ model, ...rest }, 'eval.npz', 500)
  const [found] = await evaluate(model, { batches, metrics: ['accuracy'], log: silentLog })
  return found?.value ?? 0
}

describe.skipIf(!isThere)('AMP', () => {
  it('corrects what blocks read, in a plan that survives its file', async () => {
    const { source, batches, calibration } = await prepare()
    const view = readModel(source.model.graph)
    const input = { model: source.model, view, batches, calibration, log: silentLog }
    const { slices, projections } = await decideAmp(input, { ...ampDefaults, ratio: 0.5 })
    expect(projections.filter(({ reads }) => reads).length).toBeGreaterThan(1)
    const folder = mkdtempSync(join(tmpdir(), 'attnc-test-'))
    for (const [name, content] of Object.entries(planFiles({ parts: [{ slices, projections }] })))
      writeFileSync(join(folder, name), content)
    expect(readPlan(folder).parts[0]?.projections).toEqual(projections)
    rmSync(folder, { recursive: true })
  })

  it('decides the same plan twice when every block runs on what was pruned before it', async () => {
    const { source, batches, calibration } = await prepare()
    const once = () =>
      decideAmp(
        {
          model: source.model,
          view: readModel(source.model.graph),
          calibration,
          batches: batches.slice(0, 1),
          log: silentLog,
        },
        { ...ampDefaults, ratio: 0.3, scope: 'feedForward' },
      )
    const [first, second] = [await once(), await once()]
    expect(second.slices).toEqual(first.slices)
    expect(second.projections).toEqual(first.projections)
  }, 240_000)

  it.each([0.1, 0.3, 0.5])(
    'meets a budget of %f to half a neuron',
    async (ratio) => {
      const { removed, prunable } = await decide(await prepare(), { ratio })
      // A neuron: 64 inputs, 64 outputs and a bias.
      expect(Math.abs(removed - prunable * ratio)).toBeLessThanOrEqual(129 / 2)
    },
    120_000,
  )

  it('ranks a re-fit above plain cuts, and those above reversed ones', async () => {
    const prepared = await prepare()
    const plain = { ratio: 0.5, recover: 'none', allocation: 'uniform' } as const
    const found: Record<string, number> = {}
    for (const criterion of ['output', 'paper', 'activation', 'reversed'] as const)
      found[criterion] = await accuracyOf(await decide(prepared, { ...plain, criterion }))
    const fitted = await accuracyOf(await decide(prepared, { ratio: 0.5 }))
    expect(fitted).toBeGreaterThan(found['output'] ?? 1)
    for (const each of ['output', 'paper', 'activation'])
      expect(found[each]).toBeGreaterThan(found['reversed'] ?? 0)
  }, 120_000)

  it('takes as many heads and neurons as the published code', async () => {
    const prepared = await prepare()
    const { slices } = await decide(prepared, {
      ratio: 0.3,
      criterion: 'paper',
      allocation: 'uniform',
      recover: 'none',
    })
    // 4 heads and 128 neurons: 1 and round(128 · 0.3 + 4 · 0.3 − 1) = 39.
    const counts = slices.map(({ remove }) => remove.length)
    expect(counts.sort((a, b) => a - b)).toEqual([1, 1, 1, 1, 39, 39, 39, 39])
  }, 120_000)

  it('says what a ratio may be', async () => {
    const prepared: Prepared = { source: loadModel(folder), batches: [], calibration: new Map() }
    await expect(decide(prepared, { ratio: 1 })).rejects.toMatchObject({ code: 'RATIO_RANGE' })
  })
})
