/** Why an output can't be written, in words, from the codes of file systems. */
import { AttncError } from '../errors.js'

/** What a file system said while a folder was written, as what to do about it. */
export function explain(error: unknown, target: string, signal: AbortSignal | undefined): unknown {
  if (error instanceof AttncError) return error
  if (signal?.aborted)
    return new AttncError(
      'INTERRUPTED',
      'interrupted',
      `Writing "${target}" was interrupted; nothing was left behind.`,
      { cause: error },
    )
  const { code, message, syscall } = error as NodeJS.ErrnoException
  switch (code) {
    case 'ENOSPC':
    case 'EDQUOT':
      return diskFull(target, 'the disk or quota is full', error)
    case 'EFBIG':
      return diskFull(target, 'a file became larger than this system or its limits allow', error)
    case 'EIO':
      return diskFull(target, 'the disk reports an error', error)
    case 'EEXIST':
    case 'ENOTEMPTY':
      return new AttncError(
        'OUTPUT_BUSY',
        'usage',
        `"${target}" is being written by something else at the same time.`,
        { cause: error, suggestions: ['Wait for the other run, or name another output folder.'] },
      )
    case 'EACCES':
    case 'EPERM':
    case 'EROFS':
    case 'ENOTDIR':
    case 'ENAMETOOLONG':
    case 'EINVAL':
    case 'EBUSY':
      return unwritable(target, message, error)
    case 'ENOENT':
      // Systems of files that make their own entries, as /proc, say so of a folder that is there.
      return syscall === 'mkdir' ? unwritable(target, message, error) : error
    case 'EMFILE':
    case 'ENFILE':
      return new AttncError(
        'TOO_MANY_FILES',
        'unexpected',
        `"${target}" cannot be written: too many files are open (${code}).`,
        {
          cause: error,
          suggestions: ['Close other programs, or raise the limit: ulimit -n 4096.'],
        },
      )
    default:
      return error
  }
}

export const unwritable = (target: string, what: string, cause?: unknown): AttncError =>
  new AttncError('OUTPUT_UNWRITABLE', 'usage', `"${target}" cannot be written: ${what}.`, {
    ...(cause === undefined ? {} : { cause }),
    suggestions: ['Name a folder that this user may write to.'],
  })

export const diskFull = (target: string, what: string, cause?: unknown): AttncError =>
  new AttncError(
    'DISK_FULL',
    'unexpected',
    `"${target}" could not be written: ${what}. What was written so far is removed.`,
    {
      ...(cause === undefined ? {} : { cause }),
      suggestions: ['Free some space, or name an output folder on another disk.'],
    },
  )
