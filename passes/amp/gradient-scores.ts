/**
 * What the loss says of every unit, by gradients of gates that are 1: a gate multiplies what goes into the
 * block's projection, so the gradient of a unit's gate is the first-order change of the loss when the
 * unit goes. `taylor`: the size of its mean over all samples; `fisher`: its mean square over samples, so
 * that a unit that helps here and harms there stays (Theis et al. 2018).
 */
import type { Batch } from '../../src/data/batch.js'
import { addGradients } from '../../src/gradients/gradients.js'
import { edit, type GraphEdit } from '../../src/graph/edit.js'
import { extractSubgraph } from '../../src/graph/extract.js'
import type { Model, Value } from '../../src/graph/graph.js'
import { NodeBuilder } from '../../src/node-builder/node-builder.js'
import { tensorOf } from '../../src/onnx/numbers.js'
import { gateBlock } from '../../src/repair/gate-block.js'
import type { PrunableBlock } from '../../src/repair/prunable.js'
import { type RunOptions, runBatches } from '../../src/runtime/batches.js'
import { inferShapes } from '../../src/shape/infer.js'
import {
  addTaskLoss,
  addWeights,
  chooseObjective,
  type Objective,
  targetsOf,
} from '../../src/train/loss/objective.js'
import { samplesOf } from '../../src/train/sampling.js'

export type GradientCriterion = 'taylor' | 'fisher'

interface Gate {
  readonly block: PrunableBlock
  readonly input: string
  /** Output with the gradient, [width]. */
  readonly output: string
}

/** Scores by block key and unit. Errors: NO_OBJECTIVE, those of gradients and sessions. */
export async function measureGradientScores(
  model: Model,
  blocks: readonly PrunableBlock[],
  batches: readonly Batch[],
  { criterion, ...options }: RunOptions & { readonly criterion: GradientCriterion },
): Promise<ReadonlyMap<string, readonly number[]>> {
  const objective = chooseObjective(model, batches)
  const copy = extractSubgraph(model.graph, new Map(), [
    model.graph.values.get(objective.output) as Value,
  ])
  const gates = edit(copy.graph, 'attnc.gates', (change) => addGates(change, blocks, objective))
  const ones = Object.fromEntries(
    gates.map(({ input, block: { width } }) => [
      input,
      tensorOf('float32', [width], new Array<number>(width).fill(1)),
    ]),
  )
  const scores = new Map(gates.map(({ block }) => [block.key, unitsOf(block).map(() => 0)]))
  const samples = criterion === 'fisher' ? samplesOf(batches) : batches
  await runBatches(
    copy,
    samples,
    options,
    'scoring by gradients',
    (results) => {
      for (const { block, output } of gates) {
        const gradient = results[output]?.data as Float32Array
        const own = scores.get(block.key) as number[]
        for (const [unit, { rows }] of unitsOf(block).entries()) {
          const change = rows.reduce((sum, row) => sum + (gradient[row] as number), 0)
          own[unit] = (own[unit] as number) + (criterion === 'fisher' ? change ** 2 : change)
        }
      }
    },
    (batch) => ({ ...targetsOf(objective, batch), ...ones }),
  )
  for (const own of scores.values())
    for (const [unit, sum] of own.entries()) own[unit] = Math.abs(sum) / samples.length
  return scores
}

/** Units that go whole: members of values have no gate of their own. */
const unitsOf = ({ choices }: PrunableBlock) => choices.find(({ frame }) => !frame)?.units ?? []

function addGates(
  change: GraphEdit,
  blocks: readonly PrunableBlock[],
  objective: Objective,
): Gate[] {
  const { graph } = change
  const shapes = inferShapes(graph)
  const b = new NodeBuilder(change, shapes)
  const loss = addTaskLoss(b, objective, addWeights(b, objective)) as Value
  const gates = blocks.flatMap((block, index) => {
    const name = `attnc.gate${index}`
    const isThere = gateBlock(change, shapes, block, () =>
      change.addInput(name, 'float32', [block.width]),
    )
    const gate = graph.values.get(name)
    return isThere && gate ? [{ block, gate }] : []
  })
  const gradients = addGradients(
    change,
    loss,
    gates.map(({ gate }) => gate),
  )
  for (const output of [...graph.outputs]) change.hide(output)
  return gates.flatMap(({ block, gate }) => {
    const gradient = gradients.get(gate)
    if (!gradient) return []
    change.expose(gradient)
    return [{ block, input: gate.name, output: gradient.name }]
  })
}
