/**
 * Optimisers as nodes: from parameters, gradient and states to the next ones. All parameters are one
 * vector, so an update is a dozen nodes whatever the model is made of.
 */
import type { Value } from '../graph/graph.js'
import type { NodeBuilder } from '../node-builder/node-builder.js'

export interface Update {
  readonly parameters: Value
  readonly gradient: Value
  /** In the order of `states`. */
  readonly states: readonly Value[]
  /** Learning rate, a scalar; and the number of this update, from 1, as a scalar. */
  readonly rate: Value
  readonly count: Value
  /** A boolean: false where everything stays as it is. The gradient has to be finite all the same. */
  readonly taken?: Value | undefined
}

export interface Optimizer {
  readonly name: string
  readonly states: readonly string[]
  /** The next parameters, then the next states. */
  update(b: NodeBuilder, update: Update): readonly [Value, ...Value[]]
}

export interface AdamWOptions {
  readonly beta1?: number
  readonly beta2?: number
  readonly epsilon?: number
  readonly decay?: number
}

/** Loshchilov & Hutter 2019, with bias correction; the decay is apart from the gradient. */
export function adamW(options: AdamWOptions = {}): Optimizer {
  const { beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8, decay = 0 } = options
  return {
    name: 'adamw',
    states: ['momentum', 'variance'],
    update(b, { parameters, gradient, states: [m, v], rate: given, count, taken }) {
      const number = (value: number): Value => b.number(value, 'float32')
      const rate = orElse(b, taken, given, 0)
      const mix = (old: Value | undefined, now: Value, beta: number): Value =>
        b.op('Add', [
          b.op('Mul', [old, orElse(b, taken, number(beta), 1)]),
          b.op('Mul', [now, orElse(b, taken, number(1 - beta), 0)]),
        ])
      const unbiased = (beta: number): Value =>
        b.op('Sub', [number(1), b.op('Pow', [number(beta), count])])
      const momentum = mix(m, gradient, beta1)
      const variance = mix(v, b.op('Mul', [gradient, gradient]), beta2)
      const deviation = b.op('Sqrt', [b.op('Div', [variance, unbiased(beta2)])])
      const scaled = b.op('Div', [momentum, b.op('Add', [deviation, number(epsilon)])])
      const pace = b.op('Div', [rate, unbiased(beta1)])
      const moved = b.op('Sub', [decayed(b, parameters, rate, decay), b.op('Mul', [scaled, pace])])
      return [moved, momentum, variance]
    },
  }
}

/** Stochastic gradient descent; the decay is apart from the momentum. */
export function sgd(
  options: { readonly momentum?: number; readonly decay?: number } = {},
): Optimizer {
  const { momentum = 0.9, decay = 0 } = options
  return {
    name: 'sgd',
    states: ['momentum'],
    update(b, { parameters, gradient, states: [m], rate: given, taken }) {
      const rate = orElse(b, taken, given, 0)
      const kept = b.op('Mul', [m, orElse(b, taken, b.number(momentum, 'float32'), 1)])
      const added = taken
        ? b.op('Mul', [gradient, orElse(b, taken, b.number(1, 'float32'), 0)])
        : gradient
      const velocity = b.op('Add', [kept, added])
      const step = b.op('Mul', [velocity, rate])
      return [b.op('Sub', [decayed(b, parameters, rate, decay), step]), velocity]
    },
  }
}

/** A number, or another where nothing is taken: numbers are chosen, not vectors as long as all weights. */
const orElse = (b: NodeBuilder, taken: Value | undefined, value: Value, other: number): Value =>
  taken ? b.op('Where', [taken, value, b.number(other, 'float32')]) : value

/** p·(1 − rate·decay). */
function decayed(b: NodeBuilder, parameters: Value, rate: Value, decay: number): Value {
  if (decay === 0) return parameters
  const shrunk = b.op('Mul', [rate, b.number(decay, 'float32')])
  return b.op('Mul', [parameters, b.op('Sub', [b.number(1, 'float32'), shrunk])])
}

/** The gradient, no longer than `limit`; and its length before. */
export function clipNorm(b: NodeBuilder, gradient: Value, limit: number): readonly [Value, Value] {
  const squares = b.op('ReduceSumSquare', [gradient], { keepdims: 0 })
  const norm = b.op('Sqrt', [squares])
  const longest = b.number(limit, 'float32')
  const share = b.op('Div', [longest, b.op('Max', [norm, longest])])
  return [b.op('Mul', [gradient, share]), norm]
}

const schedules = ['constant', 'linear', 'cosine'] as const
export type Schedule = (typeof schedules)[number]

/** Share of the peak rate at update `index` (from 0) of `total`, after a linear rise over `warmup`. */
export function shareOfRate(
  schedule: Schedule,
  index: number,
  total: number,
  warmup: number,
): number {
  if (index < warmup) return (index + 1) / warmup
  if (schedule === 'constant') return 1
  const done = (index - warmup) / Math.max(total - warmup, 1)
  return schedule === 'linear' ? 1 - done : (1 + Math.cos(Math.PI * Math.min(done, 1))) / 2
}
