/**
 * A teacher beside its student in one graph: both read the same inputs, and what the teacher says never
 * leaves the session. The student learns its answers and, where layers are paired, its hidden states.
 */
import { addSubgraph } from '../../graph/extract.js'
import type { Graph, Model, Value } from '../../graph/graph.js'
import type { NodeBuilder } from '../../node-builder/node-builder.js'
import { firstWay } from '../../rewrite/first-branch.js'
import type { LayerPair } from './layer-match.js'
import { binaryCrossEntropy, cosineDistance, distillation, meanSquaredError } from './loss.js'
import type { Objective } from './objective.js'

export interface Teacher {
  readonly model: Model
  /** Share of the loss that is the distance from the teacher. */
  readonly share: number
  /** At which answers are compared. */
  readonly temperature: number
  /** How hidden states and answers that are no probabilities are compared. Default: mean square. */
  readonly distance?: 'mse' | 'cosine' | undefined
  readonly hidden?:
    | {
        /** Share of the distance that is that of hidden states. */
        readonly share: number
        readonly pairs: readonly LayerPair[]
      }
    | undefined
}

/** Names of the teacher's values in the graph of both. */
export const TEACHER = 'attnc.teacher/'

/** What the teacher says. */
export interface Taught {
  readonly answer: Value
  /** The student's hidden states and the teacher's. */
  readonly hidden: readonly (readonly [Value, Value])[]
}

/** Puts the teacher into the student's graph. Error: OPSET_MISMATCH. */
export function addTeacher(graph: Graph, teacher: Teacher, objective: Objective): Taught {
  const source = firstWay(teacher.model).graph
  const pairs = teacher.hidden?.pairs ?? []
  const wanted = [objective.output, ...pairs.map((pair) => pair.teacher)]
  const [answer, ...states] = addSubgraph(
    graph,
    source,
    wanted.map((name) => source.values.get(name) as Value),
    TEACHER,
  )
  return {
    answer: answer as Value,
    hidden: pairs.map(({ student }, index) => [
      graph.values.get(student) as Value,
      states[index] as Value,
    ]),
  }
}

interface Judged {
  readonly objective: Objective
  readonly weights: Value | undefined
}

/** The distance from the teacher: of answers, and of hidden states by their share. */
export function addDistance(
  b: NodeBuilder,
  teacher: Teacher,
  taught: Taught,
  judged: Judged,
): Value {
  const { objective, weights } = judged
  const found = b.edit.graph.values.get(objective.output) as Value
  const answers = answerDistance(b, teacher, objective, [found, taught.answer], weights)
  const states = addHiddenDistance(b, teacher, taught, judged)
  return states ? mixLosses(b, answers, states, teacher.hidden?.share ?? 0) : answers
}

/** That of hidden states, the mean over their pairs; undefined where they have no share. */
export function addHiddenDistance(
  b: NodeBuilder,
  { hidden, distance }: Teacher,
  taught: Taught,
  { objective, weights }: Judged,
): Value | undefined {
  if (!hidden || hidden.share === 0 || taught.hidden.length === 0) return undefined
  const each = taught.hidden.map(([own, wanted]) =>
    stateDistance(b, own, wanted, objective.counts === 'tokens' ? weights : undefined, distance),
  )
  return b.op('Mul', [b.op('Sum', each), b.number(1 / each.length, 'float32')])
}

/** (1 − share)·one + share·other. */
export const mixLosses = (b: NodeBuilder, one: Value, other: Value, share: number): Value =>
  b.op('Add', [
    b.op('Mul', [one, b.number(1 - share, 'float32')]),
    b.op('Mul', [other, b.number(share, 'float32')]),
  ])

function answerDistance(
  b: NodeBuilder,
  { temperature, distance }: Teacher,
  { kind }: Objective,
  [found, wanted]: readonly [Value, Value],
  weights: Value | undefined,
): Value {
  if (kind === 'yes or no')
    return binaryCrossEntropy(b, found, b.op('Sigmoid', [b.cast(wanted, 'float32')]))
  if (kind === 'teacher') return stateDistance(b, found, wanted, weights, distance)
  return distillation(b, found, wanted, temperature, weights)
}

/** Squares relative to the teacher's own, or the cosine distance: the size of a stream means nothing. */
function stateDistance(
  b: NodeBuilder,
  found: Value,
  wanted: Value,
  weights: Value | undefined,
  distance: Teacher['distance'],
): Value {
  const isFlat = weights?.type?.dims?.length === 1 && b.rank(found) !== 2
  const flat = (value: Value): Value => (isFlat ? b.op('Flatten', [value], { axis: 1 }) : value)
  const [own, other] = [flat(found), flat(wanted)]
  if (distance === 'cosine') return cosineDistance(b, own, other, weights)
  const size = meanSquaredError(b, other, b.op('Sub', [other, other]), weights)
  const least = b.op('Add', [size, b.number(1e-9, 'float32')])
  return b.op('Div', [meanSquaredError(b, own, other, weights), least])
}
