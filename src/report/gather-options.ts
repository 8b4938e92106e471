/** What a report is made of, and what it measures itself. */
import type { Batch } from '../data/batch.js'
import type { MetricName } from '../evaluate/metric-name.js'
import type { LoadedModel } from '../model-folder/load.js'
import type { Plan } from '../plan/plan.js'
import type { RunOptions } from '../runtime/batches.js'
import type { RunFile } from './run-file.js'

/** Two models, what is known of them, and what is to be measured. */
export interface GatherOptions extends RunOptions {
  readonly before: LoadedModel
  readonly after: LoadedModel
  /** Only the files that were named. */
  readonly single: boolean
  /** Instead of the plan beside the pruned model. */
  readonly plan?: Plan | undefined
  /** What other commands said. */
  readonly runs?: readonly RunFile[] | undefined
  /** Times both models here. */
  readonly bench?: boolean | undefined
  /** Continued by both models. */
  readonly prompts?: readonly string[] | undefined
  /** Tokens of a continuation. Default 64. */
  readonly maxTokens?: number | undefined
  /** Measures quality here. */
  readonly evaluate?:
    | {
        readonly batches: readonly Batch[]
        /** The same data as the model that was made numbers tokens, where that differs. */
        readonly afterBatches?: readonly Batch[] | undefined
        readonly metrics: readonly MetricName[]
        /** Where the data come from, for people. */
        readonly file?: string
      }
    | undefined
  readonly created?: Date | undefined
}
