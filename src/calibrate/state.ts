/**
 * A calibration in the making: the sums of every block, and which batches of which data on which model
 * they hold. Parts made by different machines are put together by `mergeStates`, in any order.
 */
import { createHash } from 'node:crypto'
import type { Batch } from '../data/batch.js'
import { AttncError } from '../errors.js'
import type { Statistics, Sums } from './statistics.js'

/** Statistics of what every output projection reads, by `attention.3` and `feedForward.3`. */
export type Calibration = ReadonlyMap<string, Statistics>

/** What parts have to agree on to be put together. */
export interface CalibrationKey {
  /** Digest of the model file and its weights; undefined for a model that was never in a file. */
  readonly model: string | undefined
  /** Digest of all batches. */
  readonly data: string
  /** Batches of the whole, of which a part holds some. */
  readonly batches: number
  readonly stride: number
  readonly moments: boolean
}

export interface CalibrationState {
  readonly key: CalibrationKey
  /** Indices of the batches that are in. */
  readonly done: Set<number>
  /** Providers that ran them. */
  readonly providers: Set<string>
  readonly blocks: Map<string, Sums>
}

/** Whether every batch is in. */
export const isComplete = ({ key, done }: CalibrationState): boolean => done.size === key.batches

/** SHA-256 of everything that the model is fed. */
export function digestBatches(batches: readonly Batch[]): string {
  const hash = createHash('sha256')
  for (const { feeds, tokenMask } of batches)
    for (const [name, tensor] of Object.entries({ ...feeds, '\0mask': tokenMask })) {
      if (!tensor) continue
      const { data, dims, dataType } = tensor
      hash.update(`${name}\0${dataType}\0${dims}\0`)
      hash.update(new Uint8Array(data.buffer, data.byteOffset, data.byteLength))
    }
  return hash.digest('hex')
}

/** Adds `other` to `state`. Errors: CALIBRATION_DIFFERS, CALIBRATION_OVERLAPS. */
export function mergeStates(
  state: CalibrationState,
  other: CalibrationState,
  names: { readonly state: string; readonly other: string },
): void {
  const differing = differences(state.key, other.key)
  if (differing.length > 0)
    throw new AttncError(
      'CALIBRATION_DIFFERS',
      'usage',
      `"${names.state}" and "${names.other}" can't be put together: ${differing.join('; ')}.`,
      { suggestions: ['Make all parts from the same model and data, with the same options.'] },
    )
  const twice = [...other.done].find((index) => state.done.has(index))
  if (twice !== undefined)
    throw new AttncError(
      'CALIBRATION_OVERLAPS',
      'usage',
      `Batch ${twice + 1} of ${state.key.batches} is in "${names.state}" and in "${names.other}".`,
      { suggestions: ['Give every part once; --shard 1/4 to 4/4 make parts that fit.'] },
    )
  for (const [key, sums] of other.blocks) state.blocks.get(key)?.merge(sums)
  for (const index of other.done) state.done.add(index)
  for (const provider of other.providers) state.providers.add(provider)
}

/** What two keys disagree on, in words. */
export function differences(one: CalibrationKey, other: CalibrationKey): string[] {
  const short = (value: unknown): string => String(value).slice(0, 12)
  return (['model', 'data', 'batches', 'stride', 'moments'] as const)
    .filter((name) => one[name] !== other[name])
    .map((name) => `${name} ${short(one[name])} and ${short(other[name])}`)
}

/** Statistics of all blocks; the state is used up, block by block, so that memory holds one of both. */
export function finishState({ blocks }: CalibrationState): Calibration {
  const found = new Map()
  for (const [key, sums] of blocks) {
    found.set(key, sums.finish())
    blocks.delete(key)
  }
  return found
}
