/**
 * A training run on disk, so that one that is killed goes on to the same numbers: the vectors of the
 * step, the best parameters so far and the settings they belong to. Written aside and renamed.
 */
import { existsSync } from 'node:fs'
import { readArrays, writeArrays } from '../data/npz.js'
import { AttncError } from '../errors.js'
import type { RuntimeTensor } from '../onnx/numbers.js'
import { writeWhole } from '../write-whole.js'
import type { TrainOptions } from './train-options.js'
import type { Trainable } from './weights/trainable.js'

export interface Checkpoint {
  /** Updates that are done. */
  readonly updates: number
  /** The inputs that a step carries, by name. */
  readonly vectors: Readonly<Record<string, RuntimeTensor>>
  readonly best: { readonly loss: number; readonly parameters: Float32Array; readonly age: number }
  /** What has to be the same for the numbers to be the same. */
  readonly settings: string
}

/** Error: OUTPUT_UNWRITABLE. */
export function writeCheckpoint(path: string, checkpoint: Checkpoint): void {
  const { updates, vectors, best, settings } = checkpoint
  const state = { updates, best: best.loss, age: best.age, settings }
  const text = new TextEncoder().encode(JSON.stringify(state))
  const content = writeArrays({
    ...vectors,
    best: { dataType: 'float32', dims: [best.parameters.length], data: best.parameters },
    state: { dataType: 'uint8', dims: [text.length], data: text },
  })
  writeWhole(path, content)
}

/** The run at `path`, or undefined where there is none. Errors: CHECKPOINT_FORMAT, RESUME_MISMATCH. */
export function readCheckpoint(path: string, settings: string): Checkpoint | undefined {
  if (!existsSync(path)) return undefined
  const { best, state, ...vectors } = readArrays(path)
  if (!best || !state)
    throw new AttncError('CHECKPOINT_FORMAT', 'usage', `"${path}" is not a checkpoint of attnc.`, {
      suggestions: ['Remove it to start afresh.'],
    })
  const stated = JSON.parse(new TextDecoder().decode(state.data as Uint8Array))
  if (stated.settings !== settings)
    throw new AttncError(
      'RESUME_MISMATCH',
      'usage',
      `"${path}" was made with other settings: ${stated.settings}; now they are ${settings}.`,
      { suggestions: ['Go on with the settings it was made with, or remove it.'] },
    )
  return {
    updates: stated.updates,
    vectors,
    best: { loss: stated.best, parameters: best.data as Float32Array, age: stated.age },
    settings,
  }
}

/** What has to be the same for a run that goes on to reach the same numbers. */
export function settingsOf(options: TrainOptions, trainable: Trainable): string {
  const { method, updates, batchSize, rate, schedule, warmup, seed, accumulate, clip } = options
  const { scaling, precision } = options
  const optimizer = options.optimizer?.name
  const teacher = options.teacher && {
    share: options.teacher.share,
    temperature: options.teacher.temperature,
    distance: options.teacher.distance,
    hiddenShare: options.teacher.hiddenShare,
  }
  return JSON.stringify({
    method,
    updates,
    batchSize,
    rate,
    schedule,
    warmup,
    seed,
    accumulate,
    clip,
    optimizer,
    scaling,
    precision,
    teacher,
    numbers: trainable.size,
  })
}
