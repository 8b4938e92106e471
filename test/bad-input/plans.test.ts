/** Plans that don't fit the model, refused with the graph as it was. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { importModel } from '../../src/graph/import.js'
import { printModel } from '../../src/graph/print.js'
import { applyPart } from '../../src/plan/apply.js'
import type { PlanPart } from '../../src/plan/plan.js'
import { readPlan } from '../../src/plan/plan-file.js'
import { attentionModel } from '../fuzz/models.js'
import { refusalOf } from './refusal.js'

let folder: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'attnc-test-'))
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

const slice = (dimension: string, ...remove: number[]): string =>
  JSON.stringify({ format: 1, slices: [{ dimension, remove }] })
const sixteen = Array.from({ length: 16 }, (_, index) => index)

describe('a plan is refused that', () => {
  test.each<[title: string, plan: string, code: string, text: string]>([
    ['would empty a layer', slice('layer.0.width', ...sixteen), 'LAYER_EMPTIED', 'all 16'],
    [
      'would empty a layer in two steps',
      JSON.stringify({
        format: 1,
        slices: [0, 1].map((half) => ({
          dimension: 'layer.0.width',
          remove: sixteen.filter((each) => each % 2 === half),
        })),
      }),
      'LAYER_EMPTIED',
      'layer.0.width',
    ],
    ['names what is not there', slice('layer.9.width', 1), 'UNKNOWN_DIMENSION', 'layer.9.width'],
    ['removes what is not there', slice('layer.0.width', 16), 'MEMBER_UNKNOWN', '16'],
    ['cuts what can’t be cut', slice('vocabulary', 1), 'NOT_SLICEABLE', 'index'],
    ['is no JSON', '{"format": 1', 'PLAN_FORMAT', 'JSON'],
    ['is of another format', '{"format": 3, "slices": []}', 'PLAN_FORMAT', '3'],
    ['has no slices', '{"format": 1}', 'PLAN_FORMAT', 'slices'],
    [
      'removes halves',
      '{"format": 1, "slices": [{"dimension": "layer.0.width", "remove": [0.5]}]}',
      'PLAN_FORMAT',
      'layer.0.width',
    ],
    [
      'lost its numbers',
      '{"format": 1, "slices": [], "projections": {"file": "plan.npz", "sha256": "0"}}',
      'PLAN_NUMBERS',
      'plan.npz',
    ],
    [
      'has its numbers elsewhere',
      '{"format": 1, "slices": [], "projections": {"file": "../x.npz", "sha256": "0"}}',
      'PLAN_NUMBERS',
      'x.npz',
    ],
  ])('%s', async (_, plan, code, text) => {
    const path = join(folder, 'plan.json')
    writeFileSync(path, plan)
    const { graph } = importModel(attentionModel())
    const before = printModel(graph.model)
    const refusal = await refusalOf(folder, () =>
      applyPart(graph, readPlan(path).parts[0] as PlanPart),
    )
    expect(refusal).toMatchObject({ code, exit: 2 })
    expect(refusal.message).toContain(text)
    expect(printModel(graph.model)).toBe(before)
  })

  test('is not there', async () => {
    expect(await refusalOf(folder, () => readPlan(join(folder, 'plan.json')))).toMatchObject({
      code: 'PLAN_MISSING',
      exit: 2,
    })
  })
})
