/**
 * The loop that learns masks: seeded batches, a target that rises to the sparsity asked for, multipliers
 * that rise while it is missed (vtrans.md §3.4, §3.5); then it is settled what stays, and the means of
 * those masks learn on without noise.
 */
import type { Batch } from '../../src/data/batch.js'
import { generator } from '../../src/data/generator.js'
import { AttncError } from '../../src/errors.js'
import type { Model } from '../../src/graph/graph.js'
import type { TransformerModel } from '../../src/model/model.js'
import { numbersOf, type RuntimeTensor, tensorOf, zeros } from '../../src/onnx/numbers.js'
import { short, type Training, type TrainingPoint, thinned } from '../../src/plan/findings.js'
import type { RunOptions } from '../../src/runtime/batches.js'
import { roomOf } from '../../src/runtime/free-memory.js'
import { materialise } from '../../src/runtime/materialise.js'
import { type Feeds, openSession, type Session } from '../../src/runtime/session.js'
import { feedsOf } from '../../src/train/feeds.js'
import { describeFit, fitMemory } from '../../src/train/fit-memory.js'
import { chooseObjective, type Objective, targetsOf } from '../../src/train/objective.js'
import { shareOfRate } from '../../src/train/optimizer.js'
import { canMix, type Sampler, sampler } from '../../src/train/sampling.js'
import { COUNT, RATE } from '../../src/train/training-graph.js'
import { STEEPEST } from './bottleneck.js'
import { findMasks, type MaskSet } from './masks.js'
import { measureResource } from './measure-resource.js'
import { Multipliers } from './multipliers.js'
import { PLACES, placesOf } from './noise.js'
import { batchSizeOf, type VtransOptions } from './options.js'
import type { Resource } from './resource.js'
import { type Selection, selectUnits } from './select.js'
import {
  buildStepGraph,
  KEEP,
  MASKS,
  OPEN,
  PRESSURE,
  SLOPE,
  type StepGraph,
  TARGET,
} from './step-graph.js'

export interface LearnedMasks {
  readonly set: MaskSet
  readonly resource: Resource
  readonly means: Float32Array
  readonly logVariances: Float32Array
  readonly selected: readonly Selection[]
  /** How learning went; undefined where nothing was learned by gradients. */
  readonly training?: Training
}

export interface LearnInput extends RunOptions {
  readonly model: Model
  readonly view: TransformerModel
  readonly batches: readonly Batch[]
}

/** Errors: NOTHING_PRUNABLE, NO_OBJECTIVE, LOSS_NOT_FINITE, those of gradients. */
export async function learnMasks(input: LearnInput, options: VtransOptions): Promise<LearnedMasks> {
  const { model, batches, signal, provider = 'cpu', threads } = input
  const { teacherShare } = options
  const hasTeacher = teacherShare > 0
  const objective = chooseObjective(model, batches, hasTeacher)
  const teacher = hasTeacher ? { model, share: teacherShare, temperature: 1 } : undefined
  const set = findMasks(input.view, options)
  const resource = await measureResource(input, set.masks, options)
  const batch = sampler(batches, batchSizeOf(options, batches), options.seed)(0)
  const feeds = { ...batch.feeds, ...targetsOf(objective, batch) }
  const isFixed = canMix(batches)
  const fitted = fitMemory({
    build: (recompute) =>
      buildStepGraph(model, {
        objective,
        teacher,
        options,
        resource,
        recompute,
        feeds: isFixed ? feeds : undefined,
      }),
    feeds,
    room: roomOf(provider, options.memoryLimit),
    advice: () => [
      'Take shorter samples (--sequence-length), or masks without gradients (--variant local).',
    ],
  })
  const { step } = fitted
  if (fitted.share > 0) input.log.info(describeFit(fitted))
  const file = materialise(step.model)
  try {
    await using session = await openSession({
      path: file.path,
      provider,
      threads,
      signal,
      sparing: true,
      replays: provider === 'cuda' && isFixed,
    })
    const learning = new Learning(input, options, { objective, step, session })
    const noisy = await learning.open()
    const selected = selectUnits({ set, resource, ...noisy }, options)
    const settled = await learning.settle(selected)
    return { set, resource, ...settled, selected, training: learning.training }
  } finally {
    file.dispose()
  }
}

type Numbers = Pick<LearnedMasks, 'means' | 'logVariances'>

interface Parts {
  readonly objective: Objective
  readonly step: StepGraph
  readonly session: Session
}

class Learning {
  private readonly draw: Sampler
  private entering: Feeds
  private masks: Float32Array
  private done = 0
  private readonly curve: TrainingPoint[] = []

  constructor(
    private readonly input: LearnInput,
    private readonly options: VtransOptions,
    private readonly parts: Parts,
  ) {
    this.draw = sampler(input.batches, batchSizeOf(options, input.batches), options.seed)
    this.masks = initialMasks(parts.step.set.size, options)
    this.entering = this.fresh()
  }

  /** Noisy masks, until the target is reached. */
  async open(): Promise<Numbers> {
    const { updates, ratio, rate, warmup } = this.options
    const count = Math.max(1, updates - this.settling())
    const multipliers = new Multipliers(count)
    const keep = tensorOf('float32', [this.size], new Float32Array(this.size).fill(1))
    for (let at = 0; at < count; at++) {
      const target = ratio * Math.min(1, (at + 1) / Math.ceil(count * warmup))
      const sparsity = await this.update(at + 1 === count, {
        [KEEP]: keep,
        [OPEN]: scalar(1),
        [PRESSURE]: tensorOf('float32', [2], multipliers.values),
        [SLOPE]: scalar(STEEPEST ** Math.min(1, at / (0.7 * count))),
        [TARGET]: scalar(target),
        [RATE]: scalar(rate * shareOfRate('linear', at, count, 0)),
        [COUNT]: scalar(at + 1),
      })
      multipliers.rise(sparsity - target)
    }
    return this.numbers
  }

  /** The means of what stays, without noise. */
  async settle(selected: readonly Selection[]): Promise<Numbers> {
    const count = this.settling()
    const keep = new Float32Array(this.size)
    for (const { mask, kept } of selected) for (const unit of kept) keep[mask.offset + unit] = 1
    this.entering = this.fresh()
    for (let at = 0; at < count; at++)
      await this.update(at + 1 === count, {
        [KEEP]: tensorOf('float32', [this.size], keep),
        [OPEN]: scalar(0),
        [PRESSURE]: tensorOf('float32', [2], [0, 0]),
        [SLOPE]: scalar(STEEPEST),
        [TARGET]: scalar(this.options.ratio),
        [RATE]: scalar(this.options.settlingRate * shareOfRate('linear', at, count, 0)),
        [COUNT]: scalar(at + 1),
      })
    return this.numbers
  }

  get training(): Training {
    return { updates: this.done, curve: thinned(this.curve) }
  }

  private settling(): number {
    return Math.round(this.options.updates * this.options.settle)
  }

  private get size(): number {
    return this.parts.step.set.size
  }

  private get numbers(): Numbers {
    const { masks, size } = this
    return { means: masks.slice(0, size), logVariances: masks.slice(size) }
  }

  private fresh(): Feeds {
    const length = 2 * this.size
    const states = this.parts.step.states.map((name) => [name, zeros('float32', [length])] as const)
    return { [MASKS]: tensorOf('float32', [length], this.masks), ...Object.fromEntries(states) }
  }

  /** One update; how sparse the soft count is. */
  private async update(isLast: boolean, feeds: Feeds): Promise<number> {
    const { log, signal } = this.input
    const { step, session, objective } = this.parts
    signal?.throwIfAborted()
    const batch = this.draw(this.done)
    const all = {
      ...batch.feeds,
      ...targetsOf(objective, batch),
      ...this.entering,
      [PLACES]: placesOf(step.sites, this.done, this.options.seed),
      ...feeds,
    }
    const results = await session.step(
      feedsOf(session, all),
      step.carry,
      isLast ? [step.masks] : [],
    )
    this.entering = {}
    this.done++
    const [loss, sparsity, norm] = [step.loss, step.sparsity, step.norm].map(
      (name) => numbersOf(results[name] as RuntimeTensor)[0] as number,
    ) as [number, number, number]
    if (!Number.isFinite(loss + norm)) throw notFinite(this.done, loss)
    if (isLast) this.masks = numbersOf(results[step.masks] as RuntimeTensor) as Float32Array
    this.curve.push({ update: this.done, training: short(loss), sparsity: short(sparsity) })
    log.progress(
      'learning masks',
      this.done,
      this.options.updates,
      `loss ${loss.toFixed(3)}, sparsity ${(100 * sparsity).toFixed(1)} %`,
    )
    return sparsity
  }
}

const scalar = (number: number): RuntimeTensor => tensorOf('float32', [], [number])

/** μ near 1 and σ² as the options say, drawn so that no two units are alike. */
function initialMasks(size: number, { noise, seed }: VtransOptions): Float32Array {
  const random = generator(seed)
  const near = (center: number): number[] =>
    Array.from({ length: size }, () => center + (random() - 0.5) * 0.02)
  return Float32Array.from([...near(1), ...near(noise)])
}

const notFinite = (update: number, loss: number): AttncError =>
  new AttncError(
    'LOSS_NOT_FINITE',
    'partial',
    `Update ${update} of the masks has ${Number.isFinite(loss) ? 'a gradient that is' : `a loss of ${loss}, which is`} not finite.`,
    { suggestions: ['Ask for a lower learning rate.'] },
  )
