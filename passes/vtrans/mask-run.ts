/** Masks in a session that is stepped: seeded batches, memory that suffices, losses that are watched. */
import type { Batch } from '../../src/data/batch.js'
import { AttncError } from '../../src/errors.js'
import type { Model } from '../../src/graph/graph.js'
import { numbersOf, type RuntimeTensor, tensorOf, zeros } from '../../src/onnx/numbers.js'
import { short, type TrainingPoint } from '../../src/plan/findings.js'
import { rowsWorthFusing } from '../../src/rewrite/fuse-rows/fuse-rows.js'
import type { RunOptions } from '../../src/runtime/batches.js'
import { roomOf } from '../../src/runtime/free-memory.js'
import { materialiseFor } from '../../src/runtime/held-caches.js'
import { type Feeds, openSession, type Session } from '../../src/runtime/session.js'
import { feedsOf } from '../../src/train/feeds.js'
import { describeFit, fitMemory } from '../../src/train/fit-memory.js'
import { chooseObjective, type Objective, targetsOf } from '../../src/train/loss/objective.js'
import { canMix, type Sampler, sampler } from '../../src/train/sampling.js'
import { COUNT, RATE } from '../../src/train/training-graph.js'
import type { MaskSet } from './masks.js'
import { PLACES, placesOf } from './noise.js'
import { batchSizeOf, type VtransOptions } from './options.js'
import type { Resource } from './resource.js'
import { buildStepGraph, MASKS, type StepGraph } from './step-graph.js'

export interface MaskRunInput extends RunOptions {
  /** The model that masks stand in. */
  readonly model: Model
  /** The model that teaches; itself as it is, where masks stand in it. */
  readonly teacher: Model
  readonly batches: readonly Batch[]
  readonly set: MaskSet
  readonly resources: readonly Resource[]
  /** μ of all units, and while they are noisy then log σ². */
  readonly initial: Float32Array
  readonly updates: number
  /** [units], zeros and ones: set once it is settled what stays. */
  readonly settled?: Float32Array
  /** What is said to be going on. */
  readonly what: string
}

export class MaskRun implements AsyncDisposable {
  private entering: Feeds
  private done = 0
  readonly curve: TrainingPoint[] = []
  /** The vector as it last came out. */
  masks: Float32Array

  private constructor(
    private readonly input: MaskRunInput,
    private readonly options: VtransOptions,
    private readonly parts: {
      readonly objective: Objective
      readonly step: StepGraph
      readonly session: Session
      readonly draw: Sampler
      readonly dispose: () => void
    },
  ) {
    const { step } = parts
    const { length } = step
    const states = step.states.map((name) => [name, zeros('float32', [length])] as const)
    this.masks = input.initial
    this.entering = {
      [MASKS]: tensorOf('float32', [length], input.initial),
      ...Object.fromEntries(states),
    }
  }

  /** Errors: NOTHING_PRUNABLE, NO_OBJECTIVE, TOO_LITTLE_MEMORY, those of gradients. */
  static async open(input: MaskRunInput, options: VtransOptions): Promise<MaskRun> {
    const { model, batches, signal, provider = 'cpu', threads } = input
    const { teacherShare } = options
    const hasTeacher = teacherShare > 0
    const objective = chooseObjective(model, batches, hasTeacher)
    const teacher = hasTeacher
      ? { model: input.teacher, share: teacherShare, temperature: 1 }
      : undefined
    const draw = sampler(batches, batchSizeOf(options, batches), options.seed)
    const batch = draw(0)
    const feeds = { ...batch.feeds, ...targetsOf(objective, batch) }
    const isFixed = canMix(batches)
    const fusesRowsFrom = rowsWorthFusing(provider)
    const fitted = fitMemory({
      build: (recompute) =>
        buildStepGraph(model, {
          objective,
          teacher,
          options,
          set: input.set,
          resources: input.resources,
          recompute,
          settled: input.settled,
          feeds: isFixed ? feeds : undefined,
          fusesRowsFrom,
        }),
      feeds,
      room: roomOf(provider, options.memoryLimit),
      advice: () => [
        'Take shorter samples (--sequence-length), or masks without gradients (--variant local).',
      ],
    })
    const { step } = fitted
    if (fitted.share > 0) input.log.info(describeFit(fitted))
    const file = materialiseFor(step.model, provider)
    try {
      const session = await openSession({
        path: file.path,
        provider,
        threads,
        signal,
        sparing: true,
        replays: provider === 'cuda' && isFixed,
      })
      const dispose = (): void => file.dispose()
      return new MaskRun(input, options, { objective, step, session, draw, dispose })
    } catch (error) {
      file.dispose()
      throw error
    }
  }

  /**
   * One update at a learning rate; how sparse the soft count is, where it is counted. The vector comes out
   * after the last one, and where it is to be looked at.
   */
  async update(rate: number, feeds: Feeds, isLook = false): Promise<number | undefined> {
    const { signal, log, updates, what } = this.input
    const { step, session, objective, draw } = this.parts
    signal?.throwIfAborted()
    const batch = draw(this.done)
    const isWanted = isLook || this.done + 1 === updates
    const all = {
      ...batch.feeds,
      ...targetsOf(objective, batch),
      ...this.entering,
      ...(step.sites > 0 && { [PLACES]: placesOf(step.sites, this.done, this.options.seed) }),
      [RATE]: scalar(rate),
      [COUNT]: scalar(this.done + 1),
      ...feeds,
    }
    const results = await session.step(
      feedsOf(session, all),
      step.carry,
      isWanted ? [step.masks] : [],
    )
    this.entering = {}
    this.done++
    const read = (name: string) => numbersOf(results[name] as RuntimeTensor)[0] as number
    const [loss, norm] = [read(step.loss), read(step.norm)]
    if (!Number.isFinite(loss + norm)) throw notFinite(this.done, loss)
    if (isWanted) this.masks = numbersOf(results[step.masks] as RuntimeTensor) as Float32Array
    const sparsity = step.sparsity === undefined ? undefined : read(step.sparsity)
    this.curve.push({
      update: this.done,
      training: short(loss),
      ...(sparsity !== undefined && { sparsity: short(sparsity) }),
    })
    const sparse = sparsity === undefined ? '' : `, sparsity ${(100 * sparsity).toFixed(1)} %`
    log.progress(what, this.done, updates, `loss ${loss.toFixed(3)}${sparse}`)
    return sparsity
  }

  /** The loss on held-out data after the last update. */
  note(heldOut: number): void {
    const last = this.curve.pop()
    if (last) this.curve.push({ ...last, heldOut: short(heldOut) })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.parts.session[Symbol.asyncDispose]()
    this.parts.dispose()
  }
}

export const scalar = (number: number): RuntimeTensor => tensorOf('float32', [], [number])

const notFinite = (update: number, loss: number): AttncError =>
  new AttncError(
    'LOSS_NOT_FINITE',
    'numeric',
    `Update ${update} of the masks has ${Number.isFinite(loss) ? 'a gradient that is' : `a loss of ${loss}, which is`} not finite.`,
    { suggestions: ['Ask for a lower learning rate.'] },
  )
