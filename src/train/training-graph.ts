/**
 * A training step as one graph: parameters and the optimiser's states are inputs and outputs, so that
 * a session loops on them. A step whose loss or gradient is not finite changes nothing.
 */

import { dependents } from '../gradients/active.js'
import type { Recomputation } from '../gradients/backward.js'
import { addGradients } from '../gradients/gradients.js'
import { lowerFused } from '../gradients/lower/lower.js'
import type { HasKernel } from '../gradients/own-gradient.js'
import { edit, type GraphEdit } from '../graph/edit.js'
import { extractSubgraph } from '../graph/extract.js'
import type { Model, Value } from '../graph/graph.js'
import { NodeBuilder } from '../node-builder/node-builder.js'
import { toHalfPrecision } from '../quantize/half.js'
import { eraseUnread } from '../rewrite/erase-unread.js'
import { fixSizes } from '../rewrite/fix-sizes.js'
import { fuseAttention } from '../rewrite/fuse-attention.js'
import { fuseNorms } from '../rewrite/fuse-norms.js'
import { fuseRows } from '../rewrite/fuse-rows/fuse-rows.js'
import { lighten } from '../rewrite/lighten.js'
import { saturateSums } from '../rewrite/saturate.js'
import type { Feeds } from '../runtime/session.js'
import { inferShapes } from '../shape/infer.js'
import { sizesIn } from './feeds.js'
import { addTaskLoss, addWeights, type Objective } from './loss/objective.js'
import { knownOf, prepareLoss, type StepLoss } from './loss/step-loss.js'
import { addDistance, addTeacher, type Teacher } from './loss/teacher.js'
import { SCALE } from './loss-scale.js'
import { clipNorm, type Optimizer } from './optimizer.js'
import { insertTrainable } from './weights/insert.js'
import type { Trainable } from './weights/trainable.js'

export const RATE = 'attnc.rate'
export const COUNT = 'attnc.count'
export const APPLY = 'attnc.apply'
const ACCUMULATED = 'attnc.accumulated'

/** `float16` as in Micikevicius et al., "Mixed Precision Training" (2018): the weights that learn stay float32. */
export const trainingPrecisions = ['float32', 'float16'] as const
export type Precision = (typeof trainingPrecisions)[number]

export interface TrainingGraph {
  readonly model: Model
  readonly loss: string
  /** Length of the gradient before it is clipped. */
  readonly norm: string
  /** Outputs that are the inputs of the next step: parameters, sums, states. */
  readonly carry: Readonly<Record<string, string>>
  /** Vectors as long as the parameters, all zero at first. */
  readonly states: readonly string[]
  /** Output of the parameters. */
  readonly parameters: string
}

export interface LossGraph {
  readonly model: Model
  readonly loss: string
}

export interface StepOptions {
  readonly objective: Objective
  readonly trainable: Trainable
  readonly optimizer: Optimizer
  readonly clip: number
  /** Batches of which the gradients are averaged before an update. */
  readonly accumulate: number
  readonly teacher?: Teacher | undefined
  readonly recompute?: Recomputation | undefined
  /** Batches of which all have these sizes: what depends on sizes alone is then no work at run time. */
  readonly feeds?: Feeds | undefined
  /** Of the model's work, and the teacher's; losses, gradients' sums and parameters are float32. Default float32. */
  readonly precision?: Precision | undefined
  /** Where attention can be one operator, forward and backward. Default: nowhere. */
  readonly hasKernel?: HasKernel | undefined
  /**
   * Elements from which on work along rows is put together, which wants `feeds` and a provider that compiles row
   * programs. Default: nowhere.
   */
  readonly fusesRowsFrom?: number | undefined
  /** Gradients are computed of a multiple of the loss, the input `SCALE`: for half precision. */
  readonly isScaled?: boolean | undefined
}

/** The loss alone, of the same inputs; what held-out data is judged by. A teacher judges where nothing else can. */
export function buildLossGraph(
  model: Model,
  { objective, trainable, teacher }: Pick<StepOptions, 'objective' | 'trainable' | 'teacher'>,
): LossGraph {
  const copy = copyOf(model, objective)
  const judge = objective.kind === 'teacher' ? teacher : undefined
  const taught = judge && addTeacher(copy.graph, judge, objective)
  const loss = edit(copy.graph, 'attnc.loss', (change) => {
    const b = new NodeBuilder(change, inferShapes(copy.graph))
    const weights = addWeights(b, objective)
    const task = addTaskLoss(b, objective, weights)
    const found = (task ??
      (taught && addDistance(b, judge, taught, { objective, weights }))) as Value
    insertTrainable(b, trainable)
    for (const output of [...copy.graph.outputs]) change.hide(output)
    change.expose(found)
    return found.name
  })
  return { model: copy, loss }
}

/** The loss, and the input of the numbers that are trained; the model's work in the precision asked for. */
export function addForward(
  b: NodeBuilder,
  addLoss: (b: NodeBuilder) => StepLoss,
  {
    trainable,
    precision,
    feeds,
    hasKernel,
  }: Pick<StepOptions, 'trainable' | 'precision' | 'feeds' | 'hasKernel'>,
): readonly [StepLoss, Value] {
  const { edit } = b
  const own = new Set(edit.graph.nodes())
  const loss = addLoss(b)
  const except = new Set([...edit.graph.nodes()].filter((node) => !own.has(node)))
  const parameters = insertTrainable(b, trainable)
  if (feeds) fixSizes(edit, sizesIn(feeds))
  // Attention that is one operator already has no backward pass as such.
  if (hasKernel) lowerFused(edit, dependents(edit, [parameters]))
  lighten(edit)
  const isFixed = (): ((value: Value) => boolean) => {
    const learned = dependents(edit, [parameters])
    return (value) => !learned.has(value)
  }
  if (precision === 'float16') {
    fuseNorms(edit, inferShapes(edit.graph), isFixed())
    toHalfPrecision(edit, 'slice', { except, also: new Set(loss.wide) })
  }
  if (hasKernel)
    fuseAttention(edit, inferShapes(edit.graph), { accepts: hasKernel, isFixed: isFixed() })
  if (precision === 'float16') saturateSums(edit, dependents(edit, [parameters]))
  return [loss, parameters]
}

export function buildTrainingGraph(model: Model, options: StepOptions): TrainingGraph {
  const { objective, trainable, optimizer, clip, accumulate, teacher } = options
  const copy = copyOf(model, objective)
  const { graph } = copy
  const addLoss = prepareLoss(copy, objective, teacher)
  return edit(graph, 'attnc.train', (change) => {
    const b = new NodeBuilder(change, inferShapes(graph))
    const scale = options.isScaled ? change.addInput(SCALE, 'float32', []) : undefined
    const { loss, parameters, found } = addLossGradient(b, addLoss, options, scale)
    const input = (name: string): Value => change.addInput(name, 'float32', [trainable.size])
    const [rate, count] = [RATE, COUNT].map((name) => change.addInput(name, 'float32', []))
    const sums = accumulate > 1 ? input(ACCUMULATED) : undefined
    const share = b.op('Mul', [found, b.number(1 / accumulate, 'float32')])
    const gradient = sums ? b.op('Add', [sums, share]) : found
    const [clipped, norm] = clipNorm(b, gradient, clip)
    const isSound = b.op('Not', [isOdd(b, b.op('Add', [loss, norm]))])
    const isDue = sums ? change.addInput(APPLY, 'bool', []) : undefined
    const taken = isDue ? b.op('And', [isSound, isDue]) : isSound
    const states = optimizer.states.map((name) => input(`attnc.${name}`))
    const next = optimizer.update(b, {
      parameters,
      // Zero times what is not finite would not be zero.
      gradient: b.op('Where', [isSound, clipped, b.number(0, 'float32')]),
      states,
      rate: rate as Value,
      count: count as Value,
      taken,
    })
    hideOutputs(change)
    const carried: Record<string, string> = {}
    const carry = (from: Value, to: Value): string => {
      change.expose(to)
      carried[to.name] = from.name
      return to.name
    }
    const parametersOut = carry(parameters, next[0])
    for (const [index, state] of states.entries()) carry(state, next[index + 1] as Value)
    if (sums) carry(sums, nextSums(b, { sums, gradient, taken, isSound }))
    for (const value of [loss, norm]) change.expose(value)
    const { feeds, fusesRowsFrom } = options
    if (feeds && fusesRowsFrom !== undefined) fuseRows(change, inferShapes(graph), fusesRowsFrom)
    return {
      model: copy,
      loss: loss.name,
      norm: norm.name,
      carry: carried,
      states: [...states, ...(sums ? [sums] : [])].map(({ name }) => name),
      parameters: parametersOut,
    }
  })
}

/** The loss, and its gradient `found` by all parameters, of a loss that was multiplied by `scale` on the way. */
function addLossGradient(
  b: NodeBuilder,
  addLoss: ReturnType<typeof prepareLoss>,
  options: StepOptions,
  scale: Value | undefined,
): Readonly<Record<'loss' | 'parameters' | 'found', Value>> {
  const [stepLoss, parameters] = addForward(b, (own) => addLoss(own, scale), options)
  const { loss, walked } = stepLoss
  const { recompute, hasKernel } = options
  const known = knownOf(stepLoss)
  const gradients = addGradients(b.edit, walked, [parameters], {
    recompute,
    seed: scale,
    known,
    hasKernel,
  })
  const scaled = gradients.get(parameters) as Value
  return { loss, parameters, found: scale ? b.op('Div', [scaled, scale]) : scaled }
}

/** Results of the model that the loss doesn't need are not computed. */
function hideOutputs(change: GraphEdit): void {
  for (const output of [...change.graph.outputs]) {
    change.hide(output)
    if (output.uses.size === 0 && output.producer) eraseUnread(change, output.producer)
  }
}

/** The sum so far, or zeros after an update. */
function nextSums(
  b: NodeBuilder,
  values: Readonly<Record<'sums' | 'gradient' | 'taken' | 'isSound', Value>>,
): Value {
  const { sums, gradient, taken, isSound } = values
  const kept = b.op('Where', [isSound, gradient, sums])
  return b.op('Where', [taken, b.number(0, 'float32'), kept])
}

/** Infinite or not a number; the difference from itself is then not zero. */
function isOdd(b: NodeBuilder, value: Value): Value {
  const isZero = b.op('Equal', [b.op('Sub', [value, value]), b.number(0, 'float32')])
  return b.op('Not', [isZero])
}

export const copyOf = (model: Model, { output }: Objective): Model =>
  extractSubgraph(model.graph, new Map(), [model.graph.values.get(output) as Value])
