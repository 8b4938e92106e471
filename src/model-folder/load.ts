/**
 * From a path to a graph: finds the model, reads its message, imports it. Weights stay in their files.
 */
import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { AttncError } from '../errors.js'
import { fixWeights } from '../graph/fixed-weights.js'
import type { Model } from '../graph/graph.js'
import { importModel } from '../graph/import.js'
import { openBranches } from '../graph/open-branches.js'
import { ExternalFiles } from '../onnx/external-data.js'
import { type FileStamp, unreadable } from '../onnx/file-bytes.js'
import { readModelFile } from '../onnx/model-file.js'
import { openFunctions } from '../shape/open-functions.js'
import { openSequences } from '../shape/open-sequences.js'
import { type ModelFolder, openModelFolder } from './model-folder.js'

/** A model, and the folder that it was read from. */
export interface LoadedModel {
  readonly model: Model
  /** Absolute path of the .onnx file. */
  readonly path: string
  /** Absolute path of the folder around it, and the file relative to that. */
  readonly folder: string
  readonly file: string
  readonly location: ModelFolder
  /** SHA-256 of the model file and its external data, in hex; reads all of them. */
  digest(signal?: AbortSignal): Promise<string>
  /** The model file and its external data, as they are on the disk. */
  files(): readonly FileStamp[]
}

/** What may be missing when a model is loaded. */
export interface LoadOptions {
  /** Load a graph whose weights are not there; reading one is then the error. */
  readonly allowMissingWeights?: boolean
}

/** Loads the model at `path`: an .onnx file, or a folder that holds one. */
export function loadModel(path: string, options: LoadOptions = {}): LoadedModel {
  return loadFrom(openModelFolder(path), undefined, options)
}

/** Loads another model of the same folder, for instance one with a cache. */
export function loadFrom(
  location: ModelFolder,
  file: string = location.file,
  options: LoadOptions = {},
): LoadedModel {
  const path = join(location.folder, file)
  const { message, stamp } = readModelFile(path)
  const files = new ExternalFiles(dirname(path), {
    modelPath: path,
    allowMissing: options.allowMissingWeights,
  })
  const model = importModel(message, { files })
  fixWeights(model)
  // An If may stand in a function, and branches that stood in one call functions.
  openFunctions(model)
  openBranches(model)
  openFunctions(model)
  openSequences(model)
  return {
    model,
    path,
    folder: location.folder,
    file,
    location,
    files: () => [stamp, ...files.found()],
    digest: (signal) => digestFiles(location.folder, [stamp, ...files.found()], signal),
  }
}

async function digestFiles(
  folder: string,
  stamps: readonly FileStamp[],
  signal: AbortSignal | undefined,
): Promise<string> {
  const hash = createHash('sha256')
  const [model, ...data] = stamps
  const sorted = data.sort((one, other) => (one.path < other.path ? -1 : 1))
  for (const [index, { path, size }] of [model, ...sorted].filter((each) => !!each).entries()) {
    // The model's own name is left out, so that a copy under another name has the same digest.
    hash.update(`${index === 0 ? '' : relative(folder, path)}\0${size}\0`)
    try {
      const stream = createReadStream(path, {
        highWaterMark: 1 << 20,
        ...(signal ? { signal } : {}),
      })
      for await (const chunk of stream) hash.update(chunk as Buffer)
    } catch (error) {
      throw signal?.aborted
        ? new AttncError('INTERRUPTED', 'interrupted', `Reading "${path}" was interrupted.`, {
            cause: error,
          })
        : unreadable(path, error)
    }
  }
  return hash.digest('hex')
}
