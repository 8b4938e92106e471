/** What a caller may choose, and what happens when it doesn't (docs/benchmarks/quantised.md says why). */
import type { Grid } from '../../src/quantize/grid.js'

const precisions = ['int4', 'int8', 'qdq', 'float16'] as const
export type Precision = (typeof precisions)[number]

export const roundings = ['nearest', 'calibrated'] as const
export type Rounding = (typeof roundings)[number]

const tablePrecisions = ['float', 'int8', 'int4'] as const
export type TablePrecision = (typeof tablePrecisions)[number]

/** Which weights are kept in how many bits, and how they are rounded (docs/passes/quantize.md). */
export interface QuantizeOptions {
  /** What the weights of products are kept in; `qdq` rounds what they read too. `float16` is the whole model. */
  readonly precision: Precision
  /** What tables are kept in whose rows are looked up, also where products read them too. */
  readonly tables: TablePrecision
  /** Inputs that share a scale. */
  readonly block: Grid['block']
  /** Without zero points. */
  readonly symmetric: boolean
  /** Each number to the nearest code, or so that the products stay what they are; calibrated where there are data. */
  readonly rounding?: Rounding | undefined
  /** What kernels may round to while they run: 0 to nothing, 4 to 8-bit integers. */
  readonly accuracy: 0 | 1 | 2 | 3 | 4
  /** λ = ridge · inputs/tokens · mean diagonal of the moments. */
  readonly ridge: number
  /** What stays as it is: numbers of layers, keys of blocks. */
  readonly protect: readonly (number | string)[]
}

/** Quantising where a caller says nothing. */
export const quantizeDefaults: QuantizeOptions = {
  precision: 'int4',
  tables: 'int8',
  block: 32,
  symmetric: false,
  accuracy: 4,
  ridge: 0.3,
  protect: [],
}
