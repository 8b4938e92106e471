/**
 * A multiple of the loss whose gradients half precision can hold (Micikevicius et al. 2018): small
 * ones would be zero. A batch that overflows at it is tried again at smaller ones, so that its
 * gradients count all the same; single batches whose gradients are far larger than others', which a
 * model cut by half has, don't lower it for all.
 */

import { numbersOf, type RuntimeTensor, tensorOf } from '../onnx/numbers.js'
import type { Checkpoint } from './checkpoint.js'

/** The input of a step that its loss is multiplied by. */
export const SCALE = 'attnc.scale'
const STREAK = 'attnc.streak'

export interface Scaling {
  readonly initial: number
  /**
   * Sound steps in a row after which the scale is doubled, where it isn't on its way back after a
   * fall.
   */
  readonly interval: number
}

export const defaultScaling: Scaling = { initial: 2 ** 16, interval: 200 }

/** Below it nothing of a gradient is left. */
const LEAST = 2 ** -12
const MOST = 2 ** 24
/** Halvings that a batch is tried at. */
const HALVINGS = 8
/**
 * Sound steps in a row that undo a halving: the scale settles where one batch in fifty overflows at
 * it.
 */
const BACK = 32
/** Batches left out one after another from which on it is the scale that doesn't fit. */
const IN_A_ROW = 3
/** Batches left out one after another that end a run. */
const TOO_MANY = 10

export class LossScale {
  private value: number
  /** Sound steps since it changed. */
  private streak: number
  private leftOut = 0

  /** As `vectors` of a checkpoint say, if there is one. */
  constructor(
    private readonly scaling: Scaling,
    known: Checkpoint['vectors'] = {},
  ) {
    const stated = (name: string): number | undefined => {
      const tensor = known[name]
      return tensor && (numbersOf(tensor)[0] as number)
    }
    this.value = stated(SCALE) ?? scaling.initial
    this.streak = stated(STREAK) ?? 0
  }

  /** What the next batch is tried at, in this order. */
  get tries(): readonly number[] {
    const all = Array.from({ length: HALVINGS + 1 }, (_, at) => this.value / 2 ** at)
    return all.filter((scale, at) => at === 0 || scale >= LEAST)
  }

  /** A batch was sound at one of the tries. */
  worked(scale: number): void {
    this.leftOut = 0
    if (scale !== this.value) return this.fallTo(this.value / 2)
    const { initial, interval } = this.scaling
    this.streak++
    if (this.streak < (this.value < initial ? Math.min(BACK, interval) : interval)) return
    this.value = Math.min(2 * this.value, MOST)
    this.streak = 0
  }

  /** A batch was sound at none of them, or its loss itself is odd. False where the run has to end. */
  failed(): boolean {
    this.leftOut++
    if (this.leftOut >= IN_A_ROW) this.fallTo(this.tries.at(-1) as number)
    return this.leftOut < TOO_MANY
  }

  private fallTo(scale: number): void {
    this.value = Math.max(scale, LEAST)
    this.streak = 0
  }

  /** For a checkpoint. */
  get vectors(): Readonly<Record<string, RuntimeTensor>> {
    return { [SCALE]: scaleTensor(this.value), [STREAK]: scaleTensor(this.streak) }
  }
}

export const scaleTensor = (scale: number): RuntimeTensor => tensorOf('float32', [], [scale])
