/**
 * Optimisers as nodes: from parameters, gradient and states to the next ones. All parameters are one
 * vector, so an update is a dozen nodes whatever the model is made of.
 */
import type { Value } from '../graph/graph.js'
import type { NodeBuilder } from './node-builder.js'

export interface Update {
  readonly parameters: Value
  readonly gradient: Value
  /** In the order of `states`. */
  readonly states: readonly Value[]
  /** Learning rate, a scalar; and the number of this update, from 1, as a scalar. */
  readonly rate: Value
  readonly count: Value
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
    update(b, { parameters, gradient, states: [m, v], rate, count }) {
      const number = (value: number): Value => b.number(value, 'float32')
      const mix = (old: Value | undefined, now: Value, beta: number): Value =>
        b.op('Add', [b.op('Mul', [old, number(beta)]), b.op('Mul', [now, number(1 - beta)])])
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
    update(b, { parameters, gradient, states: [m], rate }) {
      const kept = b.op('Mul', [m, b.number(momentum, 'float32')])
      const velocity = b.op('Add', [kept, gradient])
      const step = b.op('Mul', [velocity, rate])
      return [b.op('Sub', [decayed(b, parameters, rate, decay), step]), velocity]
    },
  }
}

/** p·(1 − rate·decay). */
function decayed(b: NodeBuilder, parameters: Value, rate: Value, decay: number): Value {
  if (decay === 0) return parameters
  const shrunk = b.op('Mul', [rate, b.number(decay, 'float32')])
  return b.op('Mul', [parameters, b.op('Sub', [b.number(1, 'float32'), shrunk])])
}

/** The gradient, no longer than `limit`; and its length before. */
export function clipNorm(b: NodeBuilder, gradient: Value, limit: number): readonly [Value, Value] {
  const squares = b.op('ReduceSum', [b.op('Mul', [gradient, gradient])], { keepdims: 0 })
  const norm = b.op('Sqrt', [squares])
  const longest = b.number(limit, 'float32')
  const share = b.op('Div', [longest, b.op('Max', [norm, longest])])
  return [b.op('Mul', [gradient, share]), norm]
}

export const schedules = ['constant', 'linear', 'cosine'] as const
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
