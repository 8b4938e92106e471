/** What the check of a plan says where the model alone can't tell, in words of the model. */
import { expect, test } from 'vitest'
import { readModel } from '../../src/model/model.js'
import { loadModel } from '../../src/model-folder/load.js'
import { applyPart } from '../../src/plan/apply.js'
import type { PlanSlice } from '../../src/plan/plan.js'
import { planSummary } from '../../src/plan/plan-json.js'
import { checkPlan } from '../../src/verify/check-plan.js'
import { Inapplicable, Objection } from '../../src/verify/report.js'
import { example } from '../commands/run-command.js'

/** The example, cut by `made`, saying that it was cut by `said`. */
function look(
  made: readonly PlanSlice[],
  said: readonly PlanSlice[] = made,
  isReplayed = false,
): string {
  const source = loadModel(example)
  const { model } = source
  applyPart(model.graph, { slices: made })
  const plan = { parts: [{ slices: said }] }
  model.metadata.set('attnc.plan', JSON.stringify(planSummary(plan)))
  return checkPlan({ source, view: readModel(model.graph) }, isReplayed)
}

const heads = (layer: number, ...remove: number[]): PlanSlice => ({
  dimension: `layer.${layer}.keyValueHeads`,
  remove,
})

test('sizes that the plan can leave are counted', () => {
  expect(look([heads(0, 2)])).toBe('the size of 1 dimension is as the plan can leave it')
  expect(look([heads(0, 2), heads(1, 0)])).toBe(
    'the sizes of 2 dimensions are as the plan can leave them',
  )
})

test('what has one member left is named, and where it is checked', () => {
  expect(look([heads(0, 1, 2), heads(1, 0)])).toBe(
    'the size of 1 dimension is as the plan can leave it; layer.0.keyValueHeads has one member left at most, and is checked beside the original only',
  )
  expect(() => look([heads(0, 1, 2), heads(3, 0, 1)])).toThrow(
    new Inapplicable(
      'layer.0.keyValueHeads, layer.3.keyValueHeads have one member left at most, and are checked beside the original only',
    ),
  )
})

test('a plan that cuts nothing has nothing to look at', () => {
  expect(() => look([])).toThrow(new Inapplicable('the plan cuts no heads or widths'))
})

test('a member that is beyond what was there is objected to', () => {
  expect(() => look([], [{ dimension: 'layer.0.width', remove: [700] }])).toThrow(Objection)
})

test('names that may be those of other blocks now are left to the original', () => {
  const beyond: PlanSlice = { dimension: 'layer.0.width', remove: [700] }
  const moved = new Inapplicable(
    'blocks that keep one member have no name any more, and others may have theirs: sizes are checked beside the original only',
  )
  const single = heads(3, 0, 1)
  expect(() => look([single], [single, beyond])).toThrow(moved)
  expect(() => look([], [beyond], true)).toThrow(moved)
})
