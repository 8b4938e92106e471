/**
 * A trained model as a folder: the weights that were trained replace those of equal bytes in every model
 * of the folder, so that one with a cache learns what the one without it did.
 */
import { edit } from '../graph/edit.js'
import type { Model, Value } from '../graph/graph.js'
import { type LoadedModel, loadFrom } from '../model-folder/load.js'
import { type SavedFolder, saveModelFolder } from '../model-folder/save.js'
import type { Tensor } from '../onnx/tensor.js'
import { digestOfConstant, replaceConstants } from '../plan/constants.js'
import type { RunOptions } from '../runtime/batches.js'
import { version } from '../version.js'
import type { FoldedWeight } from './adapter/fold.js'
import { train } from './train.js'
import type { TrainOptions, TrainResult } from './train-options.js'

export interface SaveOptions extends RunOptions {
  readonly source: LoadedModel
  readonly output: string
  readonly force?: boolean | undefined
  /** Only this file, though its folder has more. */
  readonly single: boolean
}

export interface TrainFolderOptions extends TrainOptions, SaveOptions {}

export interface TrainFolderResult extends TrainResult {
  readonly written: SavedFolder
}

/** Errors: those of training and of writing; nothing is left behind. */
export async function trainFolder(options: TrainFolderOptions): Promise<TrainFolderResult> {
  const result = await train(options.source.model, options)
  const report = `${JSON.stringify(reportOf(options, result), null, 2)}\n`
  const written = await saveTrained(result.weights, { 'training.json': report }, options)
  return { ...result, written }
}

/** The folder of `source` with new weights, in every model that has the old ones. */
export async function saveTrained(
  weights: readonly FoldedWeight[],
  files: Readonly<Record<string, string>>,
  options: SaveOptions,
): Promise<SavedFolder> {
  const { source, output, force, single, log, signal } = options
  const { location, file, model } = source
  const trained = weights.map(({ name, tensor }) => {
    const before = model.graph.values.get(name) as Value
    return { name, tensor, digest: digestOfConstant(before.constant as Tensor) }
  })
  const input = await source.digest(signal)
  const models: Record<string, Model> = {}
  for (const each of single ? [file] : location.models) {
    const own = each === file ? model : loadFrom(location, each).model
    const missing = edit(own.graph, 'attnc.train', (change) => replaceConstants(change, trained))
    if (missing.length === 0) models[each] = own
    else
      log.warn(
        'MODEL_LEFT_OUT',
        `"${each}" is not in the output: it lacks ${missing.length} of the ${trained.length} weights that were trained.`,
      )
  }
  for (const each of Object.values(models)) {
    each.metadata.set('attnc.version', version)
    each.metadata.set('attnc.trained', input)
  }
  return saveModelFolder({
    models,
    from: location,
    to: output,
    force,
    files,
    signal,
    onProgress: (done, total) => log.progress('writing', done, total),
  })
}

function reportOf({ method, updates, rate, seed, batchSize }: TrainOptions, result: TrainResult) {
  const { before, best, trained, curve } = result
  return { method, updates, rate, seed, batchSize, trained, before, best, curve }
}
