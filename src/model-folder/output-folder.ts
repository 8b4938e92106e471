/**
 * A folder that appears whole or not at all: written beside its place under another name, flushed, renamed.
 * Whatever fails, and an abort too, removes what was written. An old folder goes only after success.
 * An output that is a link stays one: the folder it leads to is replaced.
 */
import { existsSync, lstatSync, readdirSync, statSync } from 'node:fs'
import { mkdir, open, readdir, rename, rm, rmdir } from 'node:fs/promises'
import { basename, dirname, join, relative, resolve, sep } from 'node:path'
import { AttncError } from '../errors.js'
import { tryPlace } from '../try-place.js'
import { checkName, followLink, makeFolder } from '../write-whole.js'
import { explain } from './output-errors.js'
import { tryReplacing } from './try-replacing.js'

export interface OutputOptions {
  /** Replace a folder that is there. */
  readonly force?: boolean | undefined
  /** The folder that is read meanwhile; the output may not contain it. */
  readonly from?: string | undefined
  /** Files of data that are read: replacing a folder doesn't take them along. */
  readonly data?: readonly (string | undefined)[] | undefined
  readonly signal?: AbortSignal | undefined
}

/** Runs `write` on a temporary folder and puts that in the place of `to`. */
export async function writeFolder<Result>(
  to: string,
  options: OutputOptions,
  write: (folder: string) => Promise<Result>,
): Promise<Result> {
  const target = followLink(resolve(named(to)))
  const parent = dirname(target)
  const temporary = join(parent, `.${basename(target)}.attnc-${process.pid}-tmp`)
  let madeParent: string | undefined
  let isMine = false
  try {
    if (existsSync(parent)) await removeAbandoned(parent, basename(target))
    checkOutput(target, options)
    madeParent = makeFolder(parent)
    await mkdir(temporary)
    isMine = true
    const result = await write(temporary)
    await syncFolders(temporary)
    options.signal?.throwIfAborted()
    // Another run may have been faster.
    checkOutput(target, options)
    await putInPlace(temporary, target)
    await syncFolder(parent)
    return result
  } catch (error) {
    if (isMine) await rm(temporary, { recursive: true, force: true })
    if (madeParent) await removeEmpty(parent, madeParent)
    throw explain(error, target, options.signal)
  }
}

/** To the system the empty name is the folder that one is in. Error: OUTPUT_MISSING. */
function named(to: string): string {
  if (to !== '') return to
  throw new AttncError('OUTPUT_MISSING', 'usage', 'The name of the output folder is empty.', {
    suggestions: ['Name a folder; a variable that stands for it may not be set.'],
  })
}

/** Refuses a place where nothing could be written; worth asking before long work. */
export function checkOutput(to: string, { force, from, data = [] }: OutputOptions): void {
  const refuse = (code: string, message: string, suggestion: string): AttncError =>
    new AttncError(code, 'usage', message, { suggestions: [suggestion] })
  const target = followLink(resolve(named(to)))
  checkName(target)
  if (target.endsWith('.onnx'))
    throw refuse(
      'OUTPUT_NOT_A_FOLDER',
      `The output "${target}" is named like a file; attnc writes a folder.`,
      `Name a folder, for instance "${target.slice(0, -'.onnx'.length)}".`,
    )
  const source = from === undefined ? undefined : followLink(resolve(from))
  if (source !== undefined && isBelow(target, source))
    throw refuse(
      'OUTPUT_CONTAINS_INPUT',
      `The output folder "${target}" contains the model that is read, "${source}".`,
      'Name an output folder beside the model.',
    )
  const lost = data.find((each) => each !== undefined && isBelow(target, followLink(resolve(each))))
  if (lost !== undefined && force)
    throw refuse(
      'OUTPUT_CONTAINS_INPUT',
      `The output folder "${target}" contains the data that are read, "${lost}", and would be replaced with all that is in it.`,
      'Name another output folder, or put the data elsewhere.',
    )
  if (!existsSync(target)) {
    tryPlace(target)
    if (!lstatSync(target, { throwIfNoEntry: false })?.isSymbolicLink()) return
    throw refuse(
      'OUTPUT_EXISTS',
      `The output "${target}" is a link to something that does not exist.`,
      'Name another folder, or remove the link.',
    )
  }
  if (!statSync(target).isDirectory())
    throw refuse(
      'OUTPUT_EXISTS',
      `The output "${target}" is a file.`,
      'Name a folder that does not exist yet.',
    )
  const names = readdirSync(target)
  if (names.length === 0) return tryReplacing(target)
  if (!force)
    throw refuse(
      'OUTPUT_EXISTS',
      `The output folder "${target}" exists and holds ${names.length} entries.`,
      'Name another folder, or pass --force (force: true) to replace it once the new one is complete.',
    )
  const below = existsSync(join(target, 'onnx')) ? readdirSync(join(target, 'onnx')) : []
  if (![...names, ...below].some((name) => name.endsWith('.onnx')))
    throw refuse(
      'OUTPUT_NOT_A_MODEL',
      `The output folder "${target}" holds ${names.length} entries but no model, so it is not replaced.`,
      'Name another folder, or remove this one yourself.',
    )
  tryReplacing(target)
}

const isBelow = (folder: string, path: string): boolean => {
  const way = relative(folder, path)
  return way !== '' && way !== '..' && !way.startsWith(`..${sep}`)
}

async function putInPlace(temporary: string, target: string): Promise<void> {
  if (!existsSync(target) || readdirSync(target).length === 0) {
    await rename(temporary, target)
    return
  }
  const old = `${temporary.slice(0, -'tmp'.length)}old`
  await rename(target, old)
  try {
    await rename(temporary, target)
  } catch (error) {
    await rename(old, target)
    throw error
  }
  await rm(old, { recursive: true, force: true })
}

/**
 * Folders of processes that were killed. One that was killed between its two renames left the old output
 * under the other name: that goes back to its place.
 */
async function removeAbandoned(parent: string, name: string): Promise<void> {
  const prefix = `.${name}.attnc-`
  for (const entry of await readdir(parent)) {
    const [, processId = '', kind] = /^(\d+)-(tmp|old|try)$/.exec(entry.slice(prefix.length)) ?? []
    if (!entry.startsWith(prefix) || kind === undefined || isAlive(Number(processId))) continue
    if (kind === 'old' && !existsSync(join(parent, name)))
      await rename(join(parent, entry), join(parent, name))
    else await rm(join(parent, entry), { recursive: true, force: true })
  }
}

function isAlive(processId: number): boolean {
  try {
    process.kill(processId, 0)
    return true
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
}

async function syncFolders(folder: string): Promise<void> {
  for (const entry of await readdir(folder, { withFileTypes: true }))
    if (entry.isDirectory()) await syncFolders(join(folder, entry.name))
  await syncFolder(folder)
}

/** Makes names durable, where the system can do that to a folder. */
async function syncFolder(folder: string): Promise<void> {
  try {
    await using handle = await open(folder, 'r')
    await handle.sync()
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code !== 'EISDIR' && code !== 'EPERM' && code !== 'EINVAL') throw error
  }
}

/** Folders that were made for the output, as far as they are empty again. */
async function removeEmpty(folder: string, top: string): Promise<void> {
  try {
    for (let each = folder; each.length >= top.length; each = dirname(each)) await rmdir(each)
  } catch {
    // Something else uses it meanwhile: it stays.
  }
}
