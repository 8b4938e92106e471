/** Which model of a folder generates: the one that was meant, or one beside it that has a cache. */
import { AttncError } from '../errors.js'
import { type LoadedModel, loadFrom } from '../model-folder/load.js'
import { readLanguagePorts } from './language-ports.js'
import { findStates } from './states.js'

/**
 * `source` where it has a cache, or where it was named itself (`single`); else the first model of its
 * folder that generates with one; else `source`.
 */
export function chooseGenerator(source: LoadedModel, single: boolean): LoadedModel {
  if (single || findStates(source.model).length > 0) return source
  for (const file of source.location.models) {
    if (file === source.file) continue
    const other = tryLoad(source, file)
    if (other && hasCache(other)) return other
  }
  return source
}

export function hasCache({ model }: LoadedModel): boolean {
  try {
    return readLanguagePorts(model).states.length > 0
  } catch (error) {
    if (error instanceof AttncError) return false
    throw error
  }
}

function tryLoad(source: LoadedModel, file: string): LoadedModel | undefined {
  try {
    return loadFrom(source.location, file)
  } catch (error) {
    // A neighbour that can't be read is no reason not to use the model that was meant.
    if (error instanceof AttncError) return undefined
    throw error
  }
}
