/**
 * What is to be done to a model: parts that are carried out one after the other, each decided by one
 * pass on the model as the parts before left it. The same model, plan and version give the same bytes.
 */
import type { RuntimeTensor } from '../onnx/numbers.js'
import type { Codes, Grid } from '../quantize/grid.js'
import type { MaskFacts } from '../sparse/mask-facts.js'
import type { Findings } from './findings.js'

/** Members of a dimension that go. */
export interface PlanSlice {
  /** Id of a dimension, as `inspect` prints it. */
  readonly dimension: string
  /** Members that go. */
  readonly remove: readonly number[]
}

/** A re-fitted output projection: kept inputs × outputs, row-major. No rows: there is none, and only a shift. */
export interface RefittedProjection {
  /** `attention.3` or `feedForward.3`: blocks in the order of execution. */
  readonly block: string
  readonly rows: number
  readonly columns: number
  readonly weight: Float32Array
  /** The basis in which values are written first: T of every key-value head, [heads, size, size]. */
  readonly basis?: {
    readonly heads: number
    readonly size: number
    readonly numbers: Float32Array
  }
  /** Added to what the projection writes, [columns]. */
  readonly shift?: Float32Array
  /** New weights through which the block reads the stream. */
  readonly reads?: readonly ReadWeight[]
}

export interface ReadWeight {
  /** Place among all the weights of the block's reads (`findReads`). */
  readonly index: number
  /** [size, outputs] */
  readonly weight: Float32Array
}

/** New numbers for a constant, whole: as many and of the same type as it has when the part begins. */
export interface ReplacedWeight {
  /** Name of the constant in the graph. */
  readonly name: string
  /**
   * Digest of the numbers that it has until then (`digestOfConstant`): other models of the folder call the
   * same constant by other names. Without one the name alone decides.
   */
  readonly digest?: string | undefined
  readonly tensor: RuntimeTensor
}

/** A weight that is kept in fewer bits. */
export interface QuantizedWeight {
  /** Name of the constant, and the digest of its numbers until then as a matrix [outputs, inputs]. */
  readonly name: string
  readonly digest?: string | undefined
  readonly grid: Grid
  /** What the kernel may round to while it runs: 0 to nothing, 4 to 8-bit integers. */
  readonly accuracy: number
  /** Found on data; without them every number goes to the nearest. */
  readonly codes?: Codes | undefined
  /** What going to the nearest gives, where it was computed already; no plan on disk has it. */
  readonly nearest?: Codes | undefined
}

/** Who may attend to whom in one block. */
export interface AttentionPatterns {
  /** `attention.3`: blocks in the order of execution. */
  readonly block: string
  /** One for all heads, or one for each: `window:1024+sinks:64`, `dense`. */
  readonly patterns: readonly string[]
  /** What was found out about its masks; without it they are all kept, as they are. */
  readonly masks?: MaskFacts | undefined
  /** Dense attention by an operator of ONNX Runtime instead of attnc's. */
  readonly operator?: FusedOperator | undefined
}

export const fusedOperators = ['MultiHeadAttention', 'GroupQueryAttention'] as const
export type FusedOperator = (typeof fusedOperators)[number]

/** A product of 8-bit integers: what its input is rounded to on the way in. */
export interface IntegerProduct {
  /** The weight, as in `QuantizedWeight`. */
  readonly name: string
  readonly digest?: string | undefined
  /** The range of the input. */
  readonly low: number
  readonly high: number
}

/** Tokens that stay, of how many; they are numbered anew in this order. */
export interface VocabularyCut {
  readonly size: number
  /** Ascending. */
  readonly keep: readonly number[]
}

/** Carried out in the order of its fields: weights, projections, what goes, patterns, tokens, then fewer bits. */
export interface PlanPart {
  /** The pass that decided it, and what was chosen; read by people only. */
  readonly pass?: string | undefined
  readonly options?: unknown
  /** What the pass saw; for people and reports. */
  readonly findings?: Findings | undefined
  readonly weights?: readonly ReplacedWeight[] | undefined
  readonly projections?: readonly RefittedProjection[] | undefined
  readonly slices: readonly PlanSlice[]
  readonly attention?: readonly AttentionPatterns[] | undefined
  readonly vocabulary?: VocabularyCut | undefined
  readonly quantized?: readonly QuantizedWeight[] | undefined
  readonly integers?: readonly IntegerProduct[] | undefined
  /** The same results by less work (`src/rewrite/lighten.ts`). */
  readonly lighter?: true | undefined
  /** The whole model in half precision, its inputs and outputs as they were. */
  readonly precision?: 'float16' | undefined
}

/** What a run decided: each part counts in what the ones before left. */
export interface Plan {
  readonly parts: readonly PlanPart[]
  /** Who made the plan and from what; read by people only. */
  readonly made?: Readonly<Record<string, unknown>> | undefined
}
