/** What a training is asked for, and what it gives. */
import type { Batch } from '../data/batch.js'
import type { RunOptions } from '../runtime/batches.js'
import type { Adapter } from './adapter/adapter-file.js'
import type { FoldedWeight } from './adapter/fold.js'
import type { Averaging } from './averaging.js'
import type { Teacher } from './loss/teacher.js'
import type { Scaling } from './loss-scale.js'
import type { Optimizer, Schedule } from './optimizer.js'
import type { Precision } from './training-graph.js'
import type { Method } from './weights/trainable.js'

/** What is trained, on what, for how long. */
export interface TrainOptions extends RunOptions {
  readonly batches: readonly Batch[]
  /** Judges the parameters; the last tenth of the samples where there is none. */
  readonly heldOut?: readonly Batch[] | undefined
  readonly method: Method
  readonly updates: number
  readonly batchSize: number
  /** Batches an update. */
  readonly accumulate?: number | undefined
  /** Peak learning rate. */
  readonly rate: number
  readonly schedule?: Schedule | undefined
  readonly warmup?: number | undefined
  readonly optimizer?: Optimizer | undefined
  /** Longest gradient. */
  readonly clip?: number | undefined
  /** Updates between two looks at the held-out data. */
  readonly judgeEvery?: number | undefined
  /** Looks without an improvement before it ends. */
  readonly patience?: number | undefined
  readonly seed: number
  /** Learns from this model's answers too. */
  readonly teacher?: TeacherOptions | undefined
  /** File of the run; one that is there already goes on. */
  readonly checkpoint?: string | undefined
  /** Other runs of this training, on other batches, that parameters are averaged with. */
  readonly averaging?: Averaging | undefined
  /** Bytes that may be used on the provider. Default: most of what is free. */
  readonly memoryLimit?: number | undefined
  /**
   * What the model, and the teacher, compute in; `auto` is float16, and float32 where that
   * overflows. Default: auto on a GPU by CUDA, else float32.
   */
  readonly precision?: Precision | 'auto' | undefined
  /** How the loss is scaled. Default: for weights in half precision only. */
  readonly scaling?: Scaling | undefined
}

/** The model whose answers are learned from. */
export interface TeacherOptions extends Omit<Teacher, 'hidden'> {
  /** Share of the distance that is that of hidden states. Default 0. */
  readonly hiddenShare?: number | undefined
}

/** Losses at one look at the held-out data. */
export interface TrainPoint {
  readonly update: number
  /** Mean loss since the last point. */
  readonly training: number
  readonly heldOut: number
}

/** Trained weights, and how training went. */
export interface TrainResult {
  readonly weights: readonly FoldedWeight[]
  /** The low-rank updates before they were folded, for other tools; undefined for other methods. */
  readonly adapter: Adapter | undefined
  readonly curve: readonly TrainPoint[]
  /** Held-out loss before and at its best. */
  readonly before: number
  readonly best: number
  readonly trained: number
  readonly updates: number
}
