/**
 * Calibration as a file that later steps read. What is done is kept beside it now and then, and when the
 * run is interrupted; the next run with the same model, data and options goes on from there.
 */
import { existsSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { AttncError } from '../errors.js'
import type { Model } from '../graph/graph.js'
import { isWrittenInto } from '../write-whole.js'
import { keyOf, type MeasureOptions, measure } from './calibrate.js'
import { readCalibration, writeCalibration } from './calibration-file.js'
import { type CalibrationState, differences } from './state.js'

export interface CalibrateToFileOptions extends Omit<MeasureOptions, 'state' | 'onBatch'> {
  readonly output: string
  readonly force?: boolean | undefined
}

/** Writing takes at most this share of the time. */
const CHECKPOINT_SHARE = 0.05
const CHECKPOINT_AFTER_MS = 30_000

/** Errors: OUTPUT_EXISTS and those of measuring and writing; a checkpoint stays when it is interrupted. */
export async function calibrateToFile(
  model: Model,
  options: CalibrateToFileOptions,
): Promise<CalibrationState> {
  const { output, log } = options
  if (existsSync(output) && !isWrittenInto(output) && !options.force)
    throw new AttncError('OUTPUT_EXISTS', 'usage', `"${output}" exists.`, {
      suggestions: ['Name another file, or pass --force to replace it.'],
    })
  const checkpoint = `${output}.part`
  let state = resume(checkpoint, options)
  let nextAt = performance.now() + CHECKPOINT_AFTER_MS
  const onBatch = async (now: CalibrationState): Promise<void> => {
    state = now
    const started = performance.now()
    if (started < nextAt) return
    await writeCalibration(checkpoint, now)
    const tookMs = performance.now() - started
    nextAt = performance.now() + Math.max(CHECKPOINT_AFTER_MS, tookMs / CHECKPOINT_SHARE)
  }
  try {
    state = await measure(model, { ...options, state, onBatch })
  } catch (error) {
    if (options.signal?.aborted && state && state.done.size > 0) {
      await writeCalibration(checkpoint, state)
      log.warn(
        'CALIBRATION_KEPT',
        `What was done is kept in "${checkpoint}"; the same command goes on from there.`,
      )
    }
    throw error
  }
  await writeCalibration(output, state)
  await rm(checkpoint, { force: true })
  return state
}

function resume(path: string, options: CalibrateToFileOptions): CalibrationState | undefined {
  if (!existsSync(path)) return undefined
  const { log } = options
  try {
    const state = readCalibration(path)
    const differing = differences(state.key, keyOf(options))
    if (differing.length === 0) {
      log.info(`Going on after ${state.done.size} of ${state.key.batches} batches.`)
      return state
    }
    log.warn(
      'CHECKPOINT_OTHER',
      `"${path}" is of another run (${differing.join('; ')}): beginning anew.`,
    )
  } catch (error) {
    if (!(error instanceof AttncError)) throw error
    log.warn('CHECKPOINT_UNREADABLE', `${error.message} Beginning anew.`)
  }
  return undefined
}
