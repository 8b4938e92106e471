/**
 * A file that appears whole or not at all: written beside its place and renamed. What is no file (/dev/null,
 * a pipe) is written into, since another file in its place would be in everybody's way.
 */
import {
  accessSync,
  constants,
  existsSync,
  mkdirSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { basename, dirname, join, resolve } from 'node:path'
import { AttncError } from './errors.js'

/** Makes the folder too. Error: OUTPUT_UNWRITABLE; what was there before stays then. */
export function writeWhole(path: string, content: string | Uint8Array): void {
  const aside = `${path}.${process.pid}.tmp`
  try {
    const there = statSync(path, { throwIfNoEntry: false })
    if (there && !there.isFile() && !there.isDirectory()) return writeFileSync(path, content)
    makeFolder(dirname(path))
    writeFileSync(aside, content)
    renameSync(aside, path)
  } catch (cause) {
    rmSync(aside, { force: true })
    throw unwritable(path, cause)
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

/** Worth asking before long work. Errors: OUTPUT_NOT_A_FILE, OUTPUT_UNWRITABLE. */
export function checkWritable(path: string): void {
  checkName(path)
  let folder = dirname(resolve(path))
  while (!existsSync(folder)) folder = dirname(folder)
  if (!statSync(folder).isDirectory())
    throw unwritable(path, new Error(`"${folder}" is a file, no folder`))
  if (statSync(path, { throwIfNoEntry: false })?.isDirectory())
    throw new AttncError('OUTPUT_NOT_A_FILE', 'usage', `"${path}" is a folder.`, {
      suggestions: [`Name a file, for instance ${join(path, 'result')}.`],
    })
  try {
    accessSync(folder, constants.W_OK | constants.X_OK)
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
