/**
 * Recurrences: what they read is summed over as in any product; what they keep is read again at the next
 * position, inside the operator, where nothing can be left out.
 */
import { intAttribute } from '../../graph/graph.js'
import type { AxisRule } from '../rule.js'

/** W is [directions, gates · hidden, inputs], R [directions, gates · hidden, hidden]. */
const recurrence: AxisRule = {
  relate(context) {
    const { node } = context
    const x = context.input(0) ?? []
    const y = context.output(0) ?? []
    const isBatchFirst = intAttribute(node, 'layout', 0) === 1
    context.unify(x[0], y[0])
    context.unify(x[1], y[isBatchFirst ? 1 : 2])
    context.contract([
      { input: 0, axis: 2 },
      { input: 1, axis: 2 },
    ])
    const kept = [...node.inputs.keys()].slice(1).flatMap((index) => {
      const axes = context.input(index) ?? []
      return index === 1 ? axes.slice(0, 2) : axes
    })
    const said = [...node.outputs.keys()].flatMap((index) => context.output(index) ?? [])
    const batch = x[isBatchFirst ? 0 : 1]
    for (const axis of [...kept, ...said])
      if (axis.root !== batch?.root) context.block(axis, 'a recurrence runs over it')
  },
}

export const recurrenceRules: Readonly<Record<string, AxisRule>> = {
  RNN: recurrence,
  GRU: recurrence,
  LSTM: recurrence,
}
