/**
 * The loss of scores over classes or tokens, and its gradient in closed form: softmax less what was right. Walking back
 * through logarithms and products would read and write the scores of a whole vocabulary thirty times; this takes a third.
 */
import type { Node, Value } from '../../graph/graph.js'
import type { NodeBuilder } from '../../node-builder/node-builder.js'
import { single, sumOfWeights } from './loss.js'

export interface LogitLossInput {
  /** [..., classes] */
  readonly logits: Value
  /** int64 [...]; unused where `taskShare` is 0. */
  readonly targets: Value | undefined
  /** [...]: how much each place counts. */
  readonly weights: Value
  /** Share of the cross-entropy with the targets. */
  readonly taskShare: number
  /** The teacher's logits, and the share of its divergence at temperature 1. */
  readonly teacher?: readonly [Value, number] | undefined
  /** What the gradient is multiplied by; a scalar. */
  readonly scale?: Value | undefined
}

/** The gradient of what `reader` reads first, whatever stands there by then. */
export interface KnownGradient {
  readonly reader: Node
  readonly gradient: Value
}

export interface LogitLoss {
  readonly loss: Value
  /** Of `scale`·loss with respect to the logits, by the node that reads them. */
  readonly known: KnownGradient
  /** Nodes that work on all classes: half precision is good enough for them, and half of their time. */
  readonly wide: readonly Node[]
}

/** Σ f·(taskShare·CE + teacherShare·KL(teacher ‖ student)), f the weights over their sum. */
export function addLogitLoss(b: NodeBuilder, input: LogitLossInput): LogitLoss {
  const { targets, weights, taskShare, teacher, scale } = input
  const logits = single(b, input.logits)
  const last = b.ints(-1)
  const number = (value: number): Value => b.number(value, 'float32')
  const rows = (value: Value): Value => b.op('Unsqueeze', [value, last])
  const factors = rows(b.op('Div', [weights, sumOfWeights(b, weights)]))
  const nodes: Node[] = []
  const wide = (value: Value): Value => {
    if (value.producer) nodes.push(value.producer)
    return value
  }
  const probabilitiesOf = (scores: Value): Value => wide(b.op('Softmax', [scores], { axis: -1 }))
  const logarithmsOf = (scores: Value): Value => wide(b.op('LogSoftmax', [scores], { axis: -1 }))
  const student = probabilitiesOf(logits)
  const said = logarithmsOf(logits)
  const [answers, teacherShare] = teacher ?? [undefined, 0]
  const total = taskShare + teacherShare
  const parts: Value[] = []
  let wrong = student
  if (answers) {
    const own = single(b, answers)
    const taught = probabilitiesOf(own)
    const apart = wide(b.op('Sub', [logarithmsOf(own), said]))
    const terms = wide(b.op('Mul', [taught, apart]))
    const divergence = wide(b.reduce('ReduceSum', terms, [-1]))
    parts.push(b.op('Mul', [divergence, number(teacherShare)]))
    const share = teacherShare / total
    const right = share === 1 ? taught : wide(b.op('Mul', [taught, number(share)]))
    wrong = wide(b.op('Sub', [wrong, right]))
  }
  if (targets && taskShare > 0) {
    const places = rows(targets)
    const own = wide(b.op('GatherElements', [said, places], { axis: -1 }))
    parts.push(b.op('Mul', [own, number(-taskShare)]))
    const there = wide(b.op('GatherElements', [wrong, places], { axis: -1 }))
    const less = wide(b.op('Sub', [there, number(taskShare / total)]))
    wrong = wide(b.op('ScatterElements', [wrong, places, less], { axis: -1 }))
  }
  const each = parts.length === 1 ? (parts[0] as Value) : b.op('Add', parts)
  const loss = b.op('ReduceSum', [b.op('Mul', [each, factors])], { keepdims: 0 })
  const scaled = b.op('Mul', [factors, scale ? b.op('Mul', [scale, number(total)]) : number(total)])
  const gradient = wide(b.op('Mul', [wrong, scaled]))
  return { loss, known: { reader: student.producer as Node, gradient }, wide: nodes }
}
