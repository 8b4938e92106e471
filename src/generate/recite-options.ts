/** What text is made up by, how much, and from which beginnings. */
import type { LoadedModel } from '../model-folder/load.js'
import type { RunOptions } from '../runtime/batches.js'

export interface ReciteOptions extends RunOptions {
  /** Its folder may hold a model with a cache: without one this takes long. */
  readonly source: LoadedModel
  readonly windows: number
  /** Tokens of a window. */
  readonly length: number
  /** Windows of a batch of what is returned. */
  readonly batchSize: number
  /** What some windows begin with a few tokens of. */
  readonly texts?: readonly (readonly number[])[] | undefined
  /** Tokens there are, where that is known. */
  readonly vocabulary: number | undefined
  readonly seed: number
  /**
   * At which tokens are drawn, by turns. Default 1: all that the model may say, as it saw it
   * itself. Cooler is what it mostly says, where it wanders off into noise.
   */
  readonly temperatures?: readonly number[] | undefined
  /** Only this file, though its folder has one with a cache. */
  readonly single?: boolean | undefined
  /** Whether caches stay in their place where the model allows it (`fixCache`). Default: on a GPU. */
  readonly fixesCache?: boolean | undefined
}
