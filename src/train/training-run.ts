/**
 * The loop: steps on seeded batches, a look at held-out data between them, an early stop, checkpoints.
 * Parameters and states stay in the session's thread; they come out only when they are looked at.
 */
import { setImmediate } from 'node:timers/promises'
import { AttncError } from '../errors.js'
import { numbersOf, type RuntimeTensor, tensorOf, zeros } from '../onnx/numbers.js'
import type { Feeds, Session } from '../runtime/session.js'
import { Meetings } from './averaging.js'
import { type Checkpoint, readCheckpoint, settingsOf, writeCheckpoint } from './checkpoint.js'
import { feedsOf } from './feeds.js'
import { type Objective, targetsOf } from './loss/objective.js'
import { LossScale, SCALE, type Scaling, scaleTensor } from './loss-scale.js'
import { shareOfRate } from './optimizer.js'
import { type Sampler, sampler } from './sampling.js'
import type { TrainOptions, TrainPoint } from './train-options.js'
import { APPLY, COUNT, RATE, type TrainingGraph } from './training-graph.js'
import { PARAMETERS } from './weights/insert.js'
import { initialParameters, type Trainable } from './weights/trainable.js'

export interface TrainingParts {
  readonly objective: Objective
  readonly trainable: Trainable
  /** Of a loss in half precision. */
  readonly scaling?: Scaling | undefined
  readonly step: TrainingGraph
  readonly session: Session
}

export interface RunHooks {
  /** Loss on held-out data. */
  readonly look: (parameters: Float32Array) => Promise<number>
  /** What in a step was the first not to be finite; undefined where that can't be found out. */
  readonly findOdd: (feeds: Feeds, parameters: RuntimeTensor) => Promise<string | undefined>
}

type Results = Readonly<Record<string, RuntimeTensor>>

export class TrainingRun {
  private readonly settings: string
  private readonly draw: Sampler
  /** What the next step is given besides its batch: everything at the start, then nothing. */
  private entering: Feeds = {}
  private next: { readonly index: number; readonly feeds: Feeds } | undefined
  private readonly meetings: Meetings | undefined
  /** Of half precision. */
  private scale: LossScale | undefined
  /** Batches that were left out because nothing of their gradients was finite at any scale. */
  leftOut = 0

  constructor(
    private readonly options: TrainOptions,
    private readonly parts: TrainingParts,
    private readonly hooks: RunHooks,
  ) {
    this.settings = settingsOf(options, parts.trainable)
    this.draw = sampler(options.batches, options.batchSize, options.seed)
    const { averaging, log, signal } = options
    this.meetings = averaging && new Meetings(averaging, log, signal)
  }

  async toEnd() {
    const { checkpoint: path, updates, patience = 5, log, seed, averaging } = this.options
    const every = this.options.judgeEvery ?? Math.max(10, Math.round(updates / 20))
    const initial = initialParameters(this.parts.trainable, seed)
    const before = await this.hooks.look(initial)
    const known = path === undefined ? undefined : readCheckpoint(path, this.settings)
    let state = known ?? this.fresh(initial, before)
    this.entering = state.vectors
    const { scaling } = this.parts
    this.scale = scaling && new LossScale(scaling, state.vectors)
    const curve: TrainPoint[] = []
    let losses: number[] = []
    for (let at = state.updates; at < updates && state.best.age < patience; at++) {
      const isLast = at + 1 === updates
      const isLook = (at + 1) % every === 0 || isLast
      const isMeeting = averaging && ((at + 1) % averaging.every === 0 || isLast)
      const { step } = this.parts
      const copies = isLook ? Object.keys(step.carry) : isMeeting ? [step.parameters] : []
      const { loss, results: own } = await this.update(at, copies)
      const results = isMeeting ? await this.meet(at + 1, own) : own
      if (loss !== undefined) losses.push(loss)
      const rate = this.rateAt(at).toPrecision(2)
      const text = `loss ${mean(losses).toFixed(3)}, held out ${state.best.loss.toFixed(3)}, rate ${rate}`
      log.progress('training', at + 1, updates, text)
      if (!isLook) continue
      const parameters = numbersOf(results[step.parameters] as RuntimeTensor)
      const heldOut = await this.hooks.look(parameters as Float32Array)
      const isBetter = heldOut < state.best.loss
      state = {
        updates: at + 1,
        vectors: this.vectorsOf(results),
        best: isBetter
          ? { loss: heldOut, parameters: parameters as Float32Array, age: 0 }
          : { ...state.best, age: state.best.age + 1 },
        settings: this.settings,
      }
      curve.push({ update: at + 1, training: mean(losses), heldOut })
      losses = []
      if (path !== undefined) writeCheckpoint(path, state)
    }
    return { before, state, curve }
  }

  /** With the parameters that all runs have on average, which the next update begins with. */
  private async meet(update: number, results: Results): Promise<Results> {
    const { parameters } = this.parts.step
    const own = numbersOf(results[parameters] as RuntimeTensor) as Float32Array
    const shared = vector((await this.meetings?.average(update, own)) ?? own)
    this.entering = { [PARAMETERS]: shared }
    return { ...results, [parameters]: shared }
  }

  /** One update of `accumulate` batches; `copies` are outputs that come out of the session besides. */
  private async update(at: number, copies: readonly string[]) {
    const { accumulate = 1, signal } = this.options
    const losses: number[] = []
    let results: Results = {}
    for (let part = 0; part < accumulate; part++) {
      signal?.throwIfAborted()
      const isLast = part === accumulate - 1
      results = await this.part(at, at * accumulate + part, isLast, copies)
      const loss = numberOf(results, this.parts.step.loss)
      if (Number.isFinite(loss)) losses.push(loss)
    }
    return { loss: losses.length > 0 ? mean(losses) : undefined, results }
  }

  /** One batch, at the first scale of its loss that leaves its gradients finite. Error: LOSS_NOT_FINITE. */
  private async part(at: number, index: number, isLast: boolean, copies: readonly string[]) {
    const { step } = this.parts
    const feeds = this.feedsOf(at, index, isLast)
    let results: Results = {}
    for (const scale of this.scale?.tries ?? [1]) {
      const running = this.step(feeds, scale, isLast ? copies : [])
      results = await this.whilePreparing(index + 1, running)
      const [loss, norm] = [numberOf(results, step.loss), numberOf(results, step.norm)]
      if (Number.isFinite(loss + norm)) {
        this.scale?.worked(scale)
        return results
      }
      if (!Number.isFinite(loss)) break
    }
    if (!this.scale?.failed())
      throw await this.notFinite(at + 1, numberOf(results, step.loss), feeds)
    this.leftOut++
    return results
  }

  private step(feeds: Feeds, scale: number, copies: readonly string[]): Promise<Results> {
    const { step, session } = this.parts
    const all = { ...feeds, ...this.entering, [SCALE]: scaleTensor(scale) }
    this.entering = {}
    return session.step(feedsOf(session, all), step.carry, copies)
  }

  /** The next batch is made while the step runs. */
  private async whilePreparing(index: number, running: Promise<Results>): Promise<Results> {
    // An error of the step is the one to hear of.
    running.catch(() => {})
    await setImmediate()
    this.next = { index, feeds: this.batchAt(index) }
    return running
  }

  private batchAt(index: number): Feeds {
    if (this.next?.index === index) return this.next.feeds
    const batch = this.draw(index)
    return { ...batch.feeds, ...targetsOf(this.parts.objective, batch) }
  }

  /** The step that failed has changed nothing: run once more, it gives the parameters it began with. */
  private async notFinite(update: number, loss: number, feeds: Feeds): Promise<AttncError> {
    const { parameters: name } = this.parts.step
    this.options.log.info(
      `Update ${update} is not finite; looking for what was the first not to be.`,
    )
    const parameters = (await this.step(feeds, 1, [name]))[name] as RuntimeTensor
    const odd = await this.hooks.findOdd(feeds, parameters)
    const what = Number.isFinite(loss) ? 'a gradient that is' : `a loss of ${loss}, which is`
    const first = odd === undefined ? '' : ` The first value that is not finite is ${odd}.`
    return new AttncError(
      'LOSS_NOT_FINITE',
      'numeric',
      `Update ${update} has ${what} not finite.${first}`,
      { suggestions: ['Ask for a lower learning rate, or shorter gradients.'] },
    )
  }

  private rateAt(at: number): number {
    const { rate, schedule = 'cosine', warmup = 0, updates } = this.options
    return rate * shareOfRate(schedule, at, updates, warmup)
  }

  private feedsOf(at: number, index: number, isLast: boolean): Feeds {
    return {
      ...this.batchAt(index),
      [RATE]: tensorOf('float32', [], [this.rateAt(at)]),
      [COUNT]: tensorOf('float32', [], [at + 1]),
      [APPLY]: tensorOf('bool', [], [Number(isLast)]),
    }
  }

  private vectorsOf(results: Results): Checkpoint['vectors'] {
    const carried = Object.entries(this.parts.step.carry).map(
      ([output, input]) => [input, results[output] as RuntimeTensor] as const,
    )
    return { ...Object.fromEntries(carried), ...this.scale?.vectors }
  }

  private fresh(parameters: Float32Array, loss: number): Checkpoint {
    const { trainable, step } = this.parts
    const states = step.states.map((name) => [name, zeros('float32', [trainable.size])] as const)
    return {
      updates: 0,
      vectors: { [PARAMETERS]: vector(parameters), ...Object.fromEntries(states) },
      best: { loss, parameters, age: 0 },
      settings: this.settings,
    }
  }
}

const numberOf = (results: Results, name: string): number =>
  numbersOf(results[name] as RuntimeTensor)[0] as number

const mean = (numbers: readonly number[]): number =>
  numbers.reduce((sum, each) => sum + each, 0) / numbers.length

export const vector = (numbers: Float32Array): RuntimeTensor => ({
  dataType: 'float32',
  dims: [numbers.length],
  data: numbers,
})
