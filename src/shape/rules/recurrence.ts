/** Shapes of recurrences: what is kept of every position, and of the last one. */
import { intAttribute } from '../../graph/graph.js'
import type { ShapeRule } from '../rule.js'

/** Weights of a recurrence are [directions, gates · hidden, hidden]; `states` are kept of the last position. */
const recurrence =
  (states: number): ShapeRule =>
  (context) => {
    const [x, weight] = [context.dims(0), context.dims(2)]
    const type = context.dataType(0)
    const isBatchFirst = intAttribute(context.node, 'layout', 0) === 1
    const [directions, , hidden] = weight ?? []
    const [first, second] = x ?? []
    const all = isBatchFirst
      ? [first, second, directions, hidden]
      : [first, directions, second, hidden]
    const last = isBatchFirst ? [first, directions, hidden] : [directions, second, hidden]
    context.set(0, all, type)
    for (let state = 1; state <= states; state++) context.set(state, last, type)
  }

export const recurrenceRules: Readonly<Record<string, ShapeRule>> = {
  RNN: recurrence(1),
  GRU: recurrence(1),
  LSTM: recurrence(2),
}
