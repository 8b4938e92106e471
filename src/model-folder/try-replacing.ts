/**
 * Whether a folder that is there can be replaced by another. One that a disk is mounted on can't be moved, nor can
 * one of the lower layers of a container's disk. It is told by moving it onto a folder that isn't empty: that
 * never happens, and systems say these reasons first.
 */
import { mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { AttncError } from '../errors.js'
import { tryPlace } from '../try-place.js'

/** Errors: OUTPUT_UNWRITABLE, DISK_FULL. */
export function tryReplacing(target: string): void {
  try {
    tryPlace(target)
  } catch (error) {
    throw fixed(target, (error as AttncError).message, error)
  }
  const trial = join(dirname(target), `.${basename(target)}.attnc-${process.pid}-try`)
  try {
    mkdirSync(trial)
    writeFileSync(join(trial, 'full'), '')
    renameSync(target, trial)
    renameSync(trial, target)
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === 'EBUSY')
      throw fixed(target, `"${target}" can't be replaced: a disk is mounted there (EBUSY).`, error)
    if (code === 'EXDEV')
      throw fixed(target, `"${target}" can't be replaced: its disk can't move it (EXDEV).`, error)
  } finally {
    rmSync(trial, { recursive: true, force: true })
  }
}

const fixed = (target: string, message: string, cause: unknown): AttncError =>
  new AttncError('OUTPUT_UNWRITABLE', 'usage', message, {
    cause,
    suggestions: [`Name a folder in it, for instance "${join(target, 'model')}".`],
  })
