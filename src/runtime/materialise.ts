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
  rmSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
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

/** Writes `model` to a temporary folder; `dispose` removes it, as does the end of the process. */
export function materialise(model: Model): Materialised {
  const folder = mkdtempSync(join(tmpdir(), 'attnc-'))
  const remove = (): void => rmSync(folder, { recursive: true, force: true })
  process.once('exit', remove)
  const dispose = (): void => {
    process.removeListener('exit', remove)
    remove()
  }
  try {
    const places = placeWeights(model, folder)
    const message = exportModel(model, { place: (tensor) => places.get(tensor) })
    const path = join(folder, 'model.onnx')
    writeFileSync(path, toBytes(encodeModel(message)))
    return { path, dispose }
  } catch (error) {
    dispose()
    throw error
  }
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
    writeSync(file, bytes, 0, bytes.length, end)
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
