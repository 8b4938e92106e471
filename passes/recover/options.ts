/** How a smaller model is trained, and what happens when nobody says (docs/benchmarks/recovery.md says why). */
import type { Precision } from '../../src/train/training-graph.js'
import type { WeightRole } from '../../src/train/weights/weight-role.js'

/** `lora`: low-rank updates. `full`: all weights. `distill`: all weights, by what the original says alone. */
export const recoveries = ['lora', 'full', 'distill'] as const
export type Recovery = (typeof recoveries)[number]

export interface RecoverOptions {
  readonly method: Recovery
  readonly updates: number
  /** Windows or rows an update; as many as make 2,048 tokens (8,192 on a GPU), or 32 rows. */
  readonly batchSize?: number | undefined
  /** Peak learning rate. */
  readonly rate?: number | undefined
  readonly rank: number
  readonly alpha?: number | undefined
  readonly targets?: readonly WeightRole[] | undefined
  /** Share of the loss that is the distance from the original model. */
  readonly teacherShare?: number | undefined
  readonly temperature: number
  /** Share of that distance that is between hidden states. */
  readonly hiddenShare: number
  /** Windows of text that the original model makes up, where data are few. */
  readonly recite?: number | undefined
  /** Looks at held-out data without an improvement before it ends. */
  readonly patience: number
  readonly seed: number
  /** Bytes that training may take on the provider. Default: most of what is free. */
  readonly memoryLimit?: number | undefined
  /** What training computes in. Default: float16 on a GPU by CUDA, else float32. */
  readonly precision?: Precision | undefined
}

export const recoverDefaults = {
  method: 'distill',
  updates: 600,
  rank: 16,
  temperature: 1,
  hiddenShare: 0,
  patience: 5,
  seed: 0,
} as const satisfies RecoverOptions

export const teacherShareOf = ({ method, teacherShare }: RecoverOptions): number =>
  teacherShare ?? (method === 'distill' ? 1 : 0.5)

/** Low-rank updates begin at zero and bear more; all weights the less, the wider the model is. */
export const rateOf = ({ method, rate }: RecoverOptions, hidden: number | undefined): number =>
  rate ?? (method === 'lora' ? 1e-3 : Math.min(2e-3, 0.4 / (hidden ?? 512)))
