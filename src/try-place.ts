/**
 * Whether a place takes what will be written there, told by the system itself: permissions say nothing to root, of a
 * disk that can only be read, of one that is full, or of a folder that the system fills, as /proc. A small file is
 * made there and removed at once; worth it before long work.
 */
import { closeSync, existsSync, openSync, rmSync, statSync, writeSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { AttncError } from './errors.js'

/** More than what systems of files keep beside a name. */
const trial = Buffer.alloc(4096, 1)
let tries = 0

/** Tries the nearest folder above `path` that exists. Errors: OUTPUT_UNWRITABLE, DISK_FULL. */
export function tryPlace(path: string): void {
  const folder = nearestFolder(path)
  if (!statSync(folder).isDirectory()) throw refusal(path, `"${folder}" is a file, no folder`)
  const file = join(folder, `.attnc-${process.pid}-${++tries}.tmp`)
  try {
    const handle = openSync(file, 'wx')
    try {
      writeSync(handle, trial)
    } finally {
      // Disks of other machines say only now that they are full.
      closeSync(handle)
    }
  } catch (error) {
    throw explain(path, folder, error as NodeJS.ErrnoException)
  } finally {
    rmSync(file, { force: true })
  }
}

/** The folder above `path`, or the next above that which is there. */
export function nearestFolder(path: string): string {
  let folder = dirname(resolve(path))
  while (!existsSync(folder)) folder = dirname(folder)
  return folder
}

function explain(path: string, folder: string, error: NodeJS.ErrnoException): AttncError {
  const { code, message } = error
  switch (code) {
    case 'EACCES':
    case 'EPERM':
      return refusal(path, `this user may not write to "${folder}" (${code})`, error)
    case 'EROFS':
      return refusal(path, `"${folder}" lies on a disk that can only be read (${code})`, error)
    case 'ENOENT':
      return refusal(path, `"${folder}" takes no files (${code})`, error)
    case 'ENOSPC':
    case 'EDQUOT':
      return new AttncError(
        'DISK_FULL',
        'unexpected',
        `"${path}" can't be written: the disk or quota of "${folder}" is full (${code}).`,
        { cause: error, suggestions: ['Free some space, or name a place on another disk.'] },
      )
    default:
      return refusal(path, message, error)
  }
}

const refusal = (path: string, why: string, cause?: unknown): AttncError =>
  new AttncError('OUTPUT_UNWRITABLE', 'usage', `"${path}" can't be written: ${why}.`, {
    ...(cause === undefined ? {} : { cause }),
    suggestions: ['Name a place that this user may write to.'],
  })
