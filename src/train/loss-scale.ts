/**
 * A multiple of the loss whose gradients half precision can hold (Micikevicius et al. 2018): small ones
 * would be zero. The scale is doubled after a number of sound updates in a row and halved by one that
 * is not, which changes nothing else; it is carried from step to step like the optimiser's states.
 */
import type { Value } from '../graph/graph.js'
import { type RuntimeTensor, tensorOf } from '../onnx/numbers.js'
import type { NodeBuilder } from './node-builder.js'

export const SCALE = 'attnc.scale'
const STREAK = 'attnc.streak'

export interface Scaling {
  readonly initial: number
  /** Sound updates in a row after which the scale is doubled. */
  readonly interval: number
}

export const defaultScaling: Scaling = { initial: 2 ** 16, interval: 200 }

export interface AddedScale {
  readonly interval: number
  readonly scale: Value
  readonly streak: Value
  readonly initial: Readonly<Record<string, RuntimeTensor>>
}

/** The scale that the loss of this step is multiplied by, as inputs of the graph. */
export function addScale({ edit }: NodeBuilder, { initial, interval }: Scaling): AddedScale {
  return {
    scale: edit.addInput(SCALE, 'float32', []),
    streak: edit.addInput(STREAK, 'float32', []),
    interval,
    initial: {
      [SCALE]: tensorOf('float32', [], [initial]),
      [STREAK]: tensorOf('float32', [], [0]),
    },
  }
}

/**
 * Where a run ends: below it nothing of a gradient is left. Not at 1: one text in thirty that overflows at any scale takes it there
 * within 500 updates, as it doubles after 200 sound ones only, and all others learn meanwhile.
 */
export const LEAST_SCALE = 2 ** -12
const MOST_SCALE = 2 ** 24

/** The scale of the next step; the name of its output. */
export function carryScale(
  b: NodeBuilder,
  { scale, streak, interval }: AddedScale,
  isSound: Value,
  carry: (from: Value, to: Value) => string,
): string {
  const number = (value: number): Value => b.number(value, 'float32')
  const longer = b.op('Add', [streak, number(1)])
  const isLong = b.op('GreaterOrEqual', [longer, number(interval)])
  const doubled = b.op('Min', [b.op('Mul', [scale, number(2)]), number(MOST_SCALE)])
  const halved = b.op('Max', [b.op('Mul', [scale, number(0.5)]), number(LEAST_SCALE)])
  const kept = b.op('Where', [isLong, doubled, scale])
  const isOver = b.op('Or', [isLong, b.op('Not', [isSound])])
  carry(streak, b.op('Where', [isOver, number(0), longer]))
  return carry(scale, b.op('Where', [isSound, kept, halved]))
}
