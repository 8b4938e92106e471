/**
 * A model in memory as a file that a session can open: the graph goes to a folder of its own, large
 * weights that lie unchanged in a file are linked beside it, others are written to one file.
 */
import {
  closeSync,
  copyFileSync,
  linkSync,
  mkdtempSync,
  openSync,
  readdirSync,
  rmSync,
  statSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { AttncError } from '../errors.js'
import { exportModel } from '../graph/export.js'
import type { Model } from '../graph/graph.js'
import { encodeModel, toBytes } from '../onnx/codec.js'
import type { Tensor } from '../onnx/tensor.js'

/** Smaller tensors go into the graph file. */
const INLINE_LIMIT = 4096
/** The runtime maps external data: tensors begin at a page. */
const PAGE = 4096

export interface Materialised {
  readonly path: string
  dispose(): void
}

interface Place {
  readonly location: string
  readonly offset: number
}

/**
 * Writes `model` to a temporary folder; `dispose` removes it, as does the end of the process.
 * Errors: TEMPORARY_FULL, TEMPORARY_UNWRITABLE.
 */
export function materialise(model: Model): Materialised {
  const folder = makeFolder()
  if (folders.size === 0) process.on('exit', removeAll)
  folders.add(folder)
  const dispose = (): void => {
    remove(folder)
    if (folders.delete(folder) && folders.size === 0) process.off('exit', removeAll)
  }
  try {
    const places = placeWeights(model, folder)
    const message = exportModel(model, { place: (tensor) => places.get(tensor) })
    const path = join(folder, 'model.onnx')
    writeFileSync(path, toBytes(encodeModel(message)))
    return { path, dispose }
  } catch (error) {
    dispose()
    throw explain(error)
  }
}

/** Folders that are there now: one listener for all, however many models are open. */
const folders = new Set<string>()

/** Whether the file is one of these: people know the model by another name. */
export const isMaterialised = (path: string): boolean => folders.has(dirname(path))

const remove = (folder: string): void => rmSync(folder, { recursive: true, force: true })

const removeAll = (): void => {
  for (const folder of folders) remove(folder)
}

function makeFolder(): string {
  try {
    removeAbandoned(tmpdir())
    return mkdtempSync(join(tmpdir(), `attnc-${process.pid}-`))
  } catch (error) {
    throw explain(error)
  }
}

const DAY_MS = 86_400_000

/** Folders of processes that were killed, once they are a day old. */
function removeAbandoned(parent: string): void {
  for (const name of readdirSync(parent)) {
    if (!/^attnc-\d+-\w{6}$/.test(name)) continue
    const path = join(parent, name)
    const found = statSync(path, { throwIfNoEntry: false })
    if (!found || Date.now() - found.mtimeMs < DAY_MS || found.uid !== process.getuid?.()) continue
    rmSync(path, { recursive: true, force: true })
  }
}

function explain(error: unknown): unknown {
  const { code, syscall, message } = error as NodeJS.ErrnoException
  if (code === 'ENOSPC' || code === 'EDQUOT')
    return new AttncError(
      'TEMPORARY_FULL',
      'unexpected',
      `The model doesn't fit into the folder for temporary files, "${tmpdir()}": it is full.`,
      {
        cause: error,
        suggestions: ['Free some space, or name a folder on a larger disk in TMPDIR.'],
      },
    )
  if (syscall === undefined || error instanceof AttncError) return error
  return new AttncError(
    'TEMPORARY_UNWRITABLE',
    'unexpected',
    `The folder for temporary files, "${tmpdir()}", can't be used: ${message}.`,
    { cause: error, suggestions: ['Name a folder that this user may write to in TMPDIR.'] },
  )
}

function placeWeights(model: Model, folder: string): Map<Tensor, Place> {
  const places = new Map<Tensor, Place>()
  const links = new Map<string, string>()
  let file: number | undefined
  let end = 0
  for (const { constant: tensor } of model.graph.initializers()) {
    if (!tensor || tensor.strings || tensor.byteLength < INLINE_LIMIT || places.has(tensor))
      continue
    if (tensor.file) {
      const { path, offset } = tensor.file
      const location = links.get(path) ?? linkInto(folder, path, links.size)
      links.set(path, location)
      places.set(tensor, { location, offset })
      continue
    }
    file ??= openSync(join(folder, 'weights.bin'), 'w')
    const bytes = tensor.bytes()
    // One call writes less than 2 GiB, and less than asked where the disk is nearly full.
    for (let done = 0; done < bytes.length; )
      done += writeSync(file, bytes, done, Math.min(bytes.length - done, 1 << 30), end + done)
    places.set(tensor, { location: 'weights.bin', offset: end })
    end = Math.ceil((end + bytes.length) / PAGE) * PAGE
  }
  if (file !== undefined) closeSync(file)
  return places
}

/** A hard link where the file system allows, else a copy; the runtime refuses links that lead out. */
function linkInto(folder: string, path: string, index: number): string {
  const name = `linked-${index}.bin`
  try {
    linkSync(path, join(folder, name))
  } catch {
    copyFileSync(path, join(folder, name))
  }
  return name
}
