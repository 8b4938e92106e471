/** What a cut model is worth: the loss that masks learn on, of data that nothing was learned from. */
import type { Batch } from '../../src/data/batch.js'
import { edit } from '../../src/graph/edit.js'
import { extractSubgraph } from '../../src/graph/extract.js'
import type { Model, Value } from '../../src/graph/graph.js'
import { numbersOf, type RuntimeTensor } from '../../src/onnx/numbers.js'
import { applyPart } from '../../src/plan/apply.js'
import type { PlanPart } from '../../src/plan/plan.js'
import type { RunOptions } from '../../src/runtime/batches.js'
import { materialise } from '../../src/runtime/materialise.js'
import { openSession } from '../../src/runtime/session.js'
import { inferShapes } from '../../src/shape/infer.js'
import { feedsOf } from '../../src/train/feeds.js'
import { NodeBuilder } from '../../src/train/node-builder.js'
import { chooseObjective, type Objective, targetsOf, WEIGHTS } from '../../src/train/objective.js'
import { prepareLoss } from '../../src/train/step-loss.js'

/** What a cut is made of; a plan says more. */
export type Cut = Pick<PlanPart, 'slices' | 'projections'>

export interface JudgeInput extends RunOptions {
  /** Whole: it loses what the cut says, and teaches. */
  readonly model: Model
  readonly heldOut: readonly Batch[]
}

/** Mean over everything that counts in the held-out batches. Errors: those of learning. */
export async function heldOutLoss(
  input: JudgeInput,
  cut: Cut,
  { teacherShare }: { readonly teacherShare: number },
): Promise<number> {
  const { model, heldOut, provider = 'cpu', threads, signal } = input
  const objective = chooseObjective(model, heldOut, teacherShare > 0)
  const judged = buildLoss(model, cut, objective, teacherShare)
  const file = materialise(judged.model)
  try {
    await using session = await openSession({ path: file.path, provider, threads, signal })
    let [sum, count] = [0, 0]
    for (const batch of heldOut) {
      signal?.throwIfAborted()
      const targets = targetsOf(objective, batch)
      const feeds = feedsOf(session, { ...batch.feeds, ...targets })
      const results = await session.run(feeds, [judged.loss])
      const own = countOf(targets, batch)
      sum += own * (numbersOf(results[judged.loss] as RuntimeTensor)[0] as number)
      count += own
    }
    return sum / count
  } finally {
    file.dispose()
  }
}

function buildLoss(model: Model, cut: Cut, objective: Objective, share: number) {
  const output = model.graph.values.get(objective.output) as Value
  const copy = extractSubgraph(model.graph, new Map(), [output])
  applyPart(copy.graph, cut)
  const teacher = share > 0 ? { model, share, temperature: 1 } : undefined
  const addLoss = prepareLoss(copy, objective, teacher)
  return edit(copy.graph, 'attnc.judge', (change) => {
    const { loss } = addLoss(new NodeBuilder(change, inferShapes(copy.graph)))
    for (const each of [...copy.graph.outputs]) change.hide(each)
    change.expose(loss)
    return { model: copy, loss: loss.name }
  })
}

/** Tokens or samples; where no weights say how much counts, samples. */
function countOf(targets: Readonly<Record<string, RuntimeTensor>>, { feeds }: Batch): number {
  const weights = targets[WEIGHTS]
  if (!weights) return Object.values(feeds)[0]?.dims[0] ?? 1
  return Array.from(numbersOf(weights)).reduce((sum, each) => sum + each, 0)
}
