/** What a cut model is worth: the loss that masks learn on, of data that nothing was learned from. */
import type { Batch } from '../../src/data/batch.js'
import { fitsInto } from '../../src/data/fits-into.js'
import { edit } from '../../src/graph/edit.js'
import { extractSubgraph } from '../../src/graph/extract.js'
import type { Model, Value } from '../../src/graph/graph.js'
import { NodeBuilder } from '../../src/node-builder/node-builder.js'
import { applyPart } from '../../src/plan/apply.js'
import type { PlanPart } from '../../src/plan/plan.js'
import type { RunOptions } from '../../src/runtime/batches.js'
import { materialiseFor } from '../../src/runtime/held-caches.js'
import { openSession } from '../../src/runtime/session.js'
import { inferShapes } from '../../src/shape/infer.js'
import { heldOutLoss } from '../../src/train/held-out.js'
import { chooseObjective, type Objective } from '../../src/train/loss/objective.js'
import { prepareLoss } from '../../src/train/loss/step-loss.js'

/** What a cut is made of; a plan says more. */
export type Cut = Pick<PlanPart, 'slices' | 'projections'>

export interface JudgeInput extends RunOptions {
  /** Whole: it loses what the cut says, and teaches. */
  readonly model: Model
  readonly heldOut: readonly Batch[]
}

/** Mean over everything that counts in the held-out batches. Errors: those of learning. */
export async function lossOf(
  input: JudgeInput,
  cut: Cut,
  { teacherShare }: { readonly teacherShare: number },
): Promise<number> {
  const { model, heldOut, provider = 'cpu', threads, signal } = input
  const objective = chooseObjective(model, heldOut, teacherShare > 0)
  const judged = buildLoss(model, cutFor(model, cut, heldOut), objective, teacherShare)
  const file = materialiseFor(judged.model, provider)
  try {
    await using session = await openSession({ path: file.path, provider, threads, signal })
    return await heldOutLoss(session, judged.loss, { objective, heldOut, signal })
  } finally {
    file.dispose()
  }
}

/**
 * A copy that lost what the cut says. Given caches have all heads, so that members of those are masked and not
 * sliced: the loss is the same.
 */
function cutFor(model: Model, cut: Cut, batches: readonly Batch[]): Model {
  // What is cut is told by the whole model, of which the output may hear a part.
  const copy = () => extractSubgraph(model.graph, new Map(), [...model.graph.outputs])
  const sliced = copy()
  applyPart(sliced.graph, cut)
  if (batches.every((batch) => fitsInto(sliced, batch))) return sliced
  const masked = copy()
  applyPart(masked.graph, cut, { as: 'mask' })
  return masked
}

function buildLoss(model: Model, whole: Model, objective: Objective, share: number) {
  const output = whole.graph.values.get(objective.output) as Value
  const copy = extractSubgraph(whole.graph, new Map(), [output])
  const teacher = share > 0 ? { model, share, temperature: 1 } : undefined
  const addLoss = prepareLoss(copy, objective, teacher)
  return edit(copy.graph, 'attnc.judge', (change) => {
    const { loss } = addLoss(new NodeBuilder(change, inferShapes(copy.graph)))
    for (const each of [...copy.graph.outputs]) change.hide(each)
    change.expose(loss)
    return { model: copy, loss: loss.name }
  })
}
