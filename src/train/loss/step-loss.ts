/**
 * The loss of a step: of the task and of the distance from a teacher, by their shares. Scores over classes have their
 * gradient in closed form; of anything else it is found by walking back.
 */
import type { Model, Node, Value } from '../../graph/graph.js'
import type { NodeBuilder } from '../../node-builder/node-builder.js'
import { addLogitLoss, type KnownGradient } from './logit-loss.js'
import { addTaskLoss, addWeights, type Objective, TARGETS } from './objective.js'
import {
  addDistance,
  addHiddenDistance,
  addTeacher,
  mixLosses,
  type Taught,
  type Teacher,
} from './teacher.js'

export interface StepLoss {
  /** All of it, a number to report. */
  readonly loss: Value
  /** What gradients are walked back from; undefined where all are known. */
  readonly walked: Value | undefined
  readonly known: readonly KnownGradient[]
  /** Nodes of the loss that may compute in half precision. */
  readonly wide: readonly Node[]
}

/** What adds the loss to a graph, into which the teacher has been put; `scale` multiplies the known gradients. */
export function prepareLoss(
  { graph }: Model,
  objective: Objective,
  teacher: Teacher | undefined,
): (b: NodeBuilder, scale?: Value) => StepLoss {
  const taught = teacher && addTeacher(graph, teacher, objective)
  return (b, scale) => {
    const weights = addWeights(b, objective)
    if (weights && isOfLogits(objective, teacher))
      return inClosedForm(b, { objective, teacher, taught, weights, scale })
    const task = addTaskLoss(b, objective, weights)
    const distance = taught && addDistance(b, teacher, taught, { objective, weights })
    const mixed = task && distance && mixLosses(b, task, distance, teacher.share)
    const loss = (mixed ?? task ?? distance) as Value
    return { loss, walked: loss, known: [], wide: [] }
  }
}

/** Known gradients by the values that they are of, once what the loss reads is no longer replaced. */
export const knownOf = ({ known }: StepLoss): ReadonlyMap<Value, Value> =>
  new Map(known.map(({ reader, gradient }) => [reader.inputs[0] as Value, gradient]))

/** At other temperatures task and teacher are compared by different probabilities. */
const isOfLogits = ({ kind }: Objective, teacher: Teacher | undefined): boolean =>
  (kind === 'next token' || kind === 'class') && (!teacher || teacher.temperature === 1)

function inClosedForm(
  b: NodeBuilder,
  given: {
    readonly objective: Objective
    readonly teacher: Teacher | undefined
    readonly taught: Taught | undefined
    readonly weights: Value
    readonly scale: Value | undefined
  },
): StepLoss {
  const { objective, teacher, taught, weights, scale } = given
  const logits = b.edit.graph.values.get(objective.output) as Value
  const share = taught && teacher ? teacher.share : 0
  const hidden = taught && teacher && addHiddenDistance(b, teacher, taught, { objective, weights })
  const ofHidden = hidden ? (teacher?.hidden?.share ?? 0) : 0
  const ofAnswers = share * (1 - ofHidden)
  const {
    loss,
    known: own,
    wide,
  } = addLogitLoss(b, {
    logits,
    targets: b.edit.addInput(TARGETS, 'int64', weights.type?.dims ?? []),
    weights,
    taskShare: 1 - share,
    teacher: taught && ofAnswers > 0 ? [taught.answer, ofAnswers] : undefined,
    scale,
  })
  const known = [own]
  if (!hidden) return { loss, walked: undefined, known, wide }
  const walked = b.op('Mul', [hidden, b.number(share * ofHidden, 'float32')])
  return { loss: b.op('Add', [loss, walked]), walked, known, wide }
}
