import type { TransformerModel } from '../model/model.js'
import type { LoadedModel } from '../model-folder/load.js'

/** One model of a folder under verification. */
export interface Subject {
  readonly source: LoadedModel
  readonly view: TransformerModel
}
