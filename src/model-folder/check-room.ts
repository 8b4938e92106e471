/** Whether a result fits on its disk, asked before long work: how large it will be is only known after it. */
import { statfsSync } from 'node:fs'
import { describeBytes } from '../amounts.js'
import { AttncError } from '../errors.js'
import type { Log } from '../log.js'
import { nearestFolder } from '../try-place.js'
import type { LoadedModel } from './load.js'

/** No pass leaves less of a model than this share of its bytes. */
export const LEAST_LEFT = 0.01

/**
 * A warning where a result as large as the model that is read would not fit, and an error where not even `share` of it
 * would. Error: DISK_FULL.
 */
export function checkRoom(to: string, source: LoadedModel, log: Log, share = LEAST_LEFT): void {
  const folder = nearestFolder(to)
  const { bavail, bsize } = statfsSync(folder)
  const free = bavail * bsize
  const bytes = source.files().reduce((sum, { size }) => sum + size, 0)
  if (free >= bytes) return
  const found = `${describeBytes(free)} are free on the disk of "${folder}", and the model that is read has ${describeBytes(bytes)}`
  if (free < share * bytes)
    throw new AttncError('DISK_FULL', 'unexpected', `"${to}" can't be written: ${found}.`, {
      suggestions: ['Free some space, or name an output folder on another disk.'],
    })
  log.warn('DISK_SMALL', `${found}: a result that is larger than that can't be written.`)
}
