/**
 * A range of a file as a byte source: read on demand, never mapped, any size.
 * The file must stay what it was when the model was opened; a change since then is an error, not noise.
 */
import { closeSync, fstatSync, openSync, readSync, statSync } from 'node:fs'
import { AttncError } from '../errors.js'
import type { ByteSource } from './messages.js'

/** A file as it was when it was first looked at. */
export interface FileStamp {
  readonly path: string
  readonly size: number
  readonly modifiedMs: number
}

/** What `path` is now; throws a named error where it cannot be looked at. */
export function stampFile(path: string): FileStamp {
  let found: ReturnType<typeof statSync>
  try {
    found = statSync(path)
  } catch (error) {
    throw unreadable(path, error)
  }
  // Opening a pipe that nobody writes to would wait for ever.
  if (!found.isFile() && !found.isDirectory())
    throw new AttncError(
      'MODEL_NOT_A_FILE',
      'model',
      `"${path}" is a pipe or a device; a model is read here and there, which only files allow.`,
      { suggestions: ['Write it to a file first, and name that.'] },
    )
  return { path, size: found.size, modifiedMs: found.mtimeMs }
}

export class FileBytes implements ByteSource {
  private cached: WeakRef<Uint8Array> | undefined

  constructor(
    private readonly stamp: FileStamp,
    private readonly offset: number,
    readonly byteLength: number,
  ) {}

  get file(): { readonly path: string; readonly offset: number } {
    return { path: this.stamp.path, offset: this.offset }
  }

  read(from: number, target: Uint8Array): void {
    readFileRange(this.stamp, this.offset + from, target)
  }

  /** The whole range. Kept as long as someone holds it. */
  bytes(): Uint8Array {
    const known = this.cached?.deref()
    if (known) return known
    const bytes = new Uint8Array(this.byteLength)
    this.read(0, bytes)
    this.cached = new WeakRef(bytes)
    return bytes
  }
}

/** Fills `target` from `offset` on, after making sure that the file is still the one that was stamped. */
function readFileRange(stamp: FileStamp, offset: number, target: Uint8Array): void {
  const descriptor = openForReading(stamp.path)
  try {
    const { size, mtimeMs } = fstatSync(descriptor)
    if (size !== stamp.size || mtimeMs !== stamp.modifiedMs)
      throw new AttncError(
        'MODEL_FILE_CHANGED',
        'model',
        `"${stamp.path}" changed while it was in use: it had ${stamp.size} bytes, now it has ${size}, or it was written to.`,
        { suggestions: ['Run again once nothing else writes to the model.'] },
      )
    fill(descriptor, offset, target, stamp.path)
  } finally {
    closeSync(descriptor)
  }
}

export function openForReading(path: string): number {
  try {
    return openSync(path, 'r')
  } catch (error) {
    throw unreadable(path, error)
  }
}

/** Reads until `target` is full; a read call returns at most 2 GiB. */
export function fill(descriptor: number, offset: number, target: Uint8Array, path: string): void {
  let done = 0
  while (done < target.length) {
    const length = Math.min(target.length - done, 1 << 30)
    const count = readSync(descriptor, target, done, length, offset + done)
    if (count === 0)
      throw new AttncError(
        'TRUNCATED_FILE',
        'model',
        `"${path}" ends at byte ${offset + done}; ${target.length - done} more bytes were expected.`,
        { suggestions: ['Copy or download the file again.'] },
      )
    done += count
  }
}

export function unreadable(path: string, error: unknown): AttncError {
  const code = (error as NodeJS.ErrnoException).code
  if (code === 'ENOENT' || code === 'ENOTDIR')
    return new AttncError('MODEL_NOT_FOUND', 'model', `There is no file "${path}".`, {
      cause: error,
      suggestions: ['Check the path; a model is an .onnx file or the folder that holds it.'],
    })
  if (code === 'EACCES' || code === 'EPERM')
    return new AttncError(
      'MODEL_UNREADABLE',
      'model',
      `"${path}" may not be read by this user (${code}).`,
      { cause: error, suggestions: [`Give read permission: chmod u+r "${path}".`] },
    )
  if (code === 'EMFILE' || code === 'ENFILE')
    return new AttncError(
      'TOO_MANY_FILES',
      'unexpected',
      `"${path}" cannot be read: too many files are open (${code}).`,
      { cause: error, suggestions: ['Close other programs, or raise the limit: ulimit -n 4096.'] },
    )
  return new AttncError(
    'MODEL_UNREADABLE',
    'model',
    `"${path}" cannot be read: ${(error as Error).message}.`,
    { cause: error, suggestions: ['Check the disk or the share that the file is on, or copy it.'] },
  )
}
