/**
 * A file that appears whole or not at all: written beside its place and renamed. A link stays one: the file it leads
 * to is replaced. What is no file (/dev/null, a pipe, /dev/stdout) is written into, since another file in its
 * place would be in everybody's way, and so is a file that is mounted by itself, which can't be replaced.
 */
import {
  accessSync,
  constants,
  existsSync,
  mkdirSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { basename, dirname, join, resolve } from 'node:path'
import { AttncError } from './errors.js'
import { tryPlace } from './try-place.js'

/** Makes the folder too. Error: OUTPUT_UNWRITABLE; what was there before stays then. */
export function writeWhole(path: string, content: string | Uint8Array): void {
  if (isWrittenInto(path)) {
    try {
      writeFileSync(path, content)
    } catch (cause) {
      throw unwritable(path, cause)
    }
    return
  }
  const target = followLink(path)
  const aside = `${target}.${process.pid}.tmp`
  try {
    makeFolder(dirname(target))
    writeFileSync(aside, content)
    try {
      renameSync(aside, target)
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EBUSY') throw error
      writeFileSync(target, content)
      rmSync(aside, { force: true })
    }
  } catch (cause) {
    rmSync(aside, { force: true })
    throw unwritable(path, cause)
  }
}

/** Devices, pipes, and names of what this process has open (/dev/stdout, /dev/fd/3), whatever that is. */
export function isWrittenInto(path: string): boolean {
  const there = existsSync(path) ? statSync(path) : undefined
  if (!there || there.isDirectory()) return false
  return !there.isFile() || /^\/(dev|proc)\//.test(resolve(path))
}

/** Where a file really lies; a path that does not exist yet stays as it is. */
export function followLink(path: string): string {
  try {
    return realpathSync(path)
  } catch {
    return path
  }
}

/**
 * The folder with those above it, and the first of them that was made. Node's own way never ends where a system of
 * files says of a folder that is there that it is not, as /proc and automounters do when something is made in it.
 */
export function makeFolder(path: string): string | undefined {
  const missing: string[] = []
  let folder = resolve(path)
  while (!existsSync(folder)) {
    missing.push(folder)
    folder = dirname(folder)
  }
  for (const each of missing.reverse())
    try {
      mkdirSync(each)
    } catch (error) {
      // What another process made meanwhile is as good.
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST' || !existsSync(each)) throw error
    }
  return missing[0]
}

/** Bytes of a name that file systems hold, less what is put behind it while it is written. */
const LONGEST_NAME = 255 - 25

/** Names that can't be made, or not as they were typed. Error: OUTPUT_UNWRITABLE. */
export function checkName(path: string): void {
  const name = basename(path)
  const bytes = Buffer.byteLength(name)
  if (bytes > LONGEST_NAME)
    throw unwritable(
      path,
      new Error(`its name has ${bytes} bytes, and ${LONGEST_NAME} can be held`),
    )
  if (path.includes('\uFFFD') && !existsSync(path))
    throw unwritable(path, new Error('it was typed in another encoding than UTF-8'))
}

/** Worth asking before long work. Errors: OUTPUT_MISSING, OUTPUT_NOT_A_FILE, OUTPUT_UNWRITABLE, DISK_FULL. */
export function checkWritable(path: string): void {
  if (path === '')
    throw new AttncError('OUTPUT_MISSING', 'usage', 'The name of a file to write is empty.', {
      suggestions: ['Name a file; a variable that stands for it may not be set.'],
    })
  checkName(path)
  if (/[\\/]$/.test(path) || (existsSync(path) && statSync(path).isDirectory()))
    throw new AttncError('OUTPUT_NOT_A_FILE', 'usage', `"${path}" is a folder.`, {
      suggestions: [`Name a file, for instance ${join(path, 'result')}.`],
    })
  if (!isWrittenInto(path)) return tryPlace(followLink(path))
  try {
    accessSync(path, constants.W_OK)
  } catch (cause) {
    throw unwritable(path, cause)
  }
}

const unwritable = (path: string, cause: unknown): AttncError =>
  new AttncError(
    'OUTPUT_UNWRITABLE',
    'usage',
    `"${path}" can't be written: ${(cause as Error).message}.`,
    {
      cause,
      suggestions: ['Name a file in a folder that this user may write to and that has room.'],
    },
  )
