/** What the pass is given: a model, and data to learn from, to re-fit on and to judge by. */
import type { Batch } from '../../src/data/batch.js'
import type { Model } from '../../src/graph/graph.js'
import type { TransformerModel } from '../../src/model/model.js'
import type { RunOptions } from '../../src/runtime/batches.js'

export interface LearnInput extends RunOptions {
  readonly model: Model
  readonly view: TransformerModel
  /** What is re-fitted on, and learned from where there is nothing else. */
  readonly batches: readonly Batch[]
}

export interface VtransInput extends LearnInput {
  /** What is learned from, where that is more than `batches`. */
  readonly training?: readonly Batch[] | undefined
  /** What judges and nothing else; without it the masks choose, and means are kept. */
  readonly heldOut?: readonly Batch[] | undefined
  /** Whether hosts expect keys and values of one shape in every layer. */
  readonly hasCache?: boolean | undefined
}
