/** What calibration knows of the values that projections read, and the sums that it is made of. */
import { AttncError } from '../errors.js'
import { EXACT_ADDITIONS, ExactSums } from './exact-sums.js'

/** Means and moments of one projection's input. */
export interface Statistics {
  readonly size: number
  /** Tokens (rows) whose moments were summed. */
  readonly tokens: number
  readonly prompts: number
  /** Row-major [n, n]; undefined where moments were not asked for. */
  readonly moments: Float64Array | undefined
  /** Σ over prompts of the mean |x| over a prompt's tokens: AMP's score of a neuron, as published. */
  readonly absolute: Float64Array
}

/** Sums in the making. Adding batches and merging give the same in any order. */
export class Sums {
  prompts = 0
  tokens = 0
  additions = 0

  constructor(
    readonly size: number,
    readonly absolute: ExactSums,
    /** The upper triangle, row by row: n·(n + 1)/2. */
    readonly moments: ExactSums | undefined,
  ) {}

  static empty(size: number, hasMoments: boolean): Sums {
    const moments = hasMoments ? new ExactSums((size * (size + 1)) / 2) : undefined
    return new Sums(size, new ExactSums(size), moments)
  }

  /** Counts of one batch, or of what is merged. Error: CALIBRATION_TOO_LONG. */
  count(prompts: number, tokens: number, additions: number): void {
    this.prompts += prompts
    this.tokens += tokens
    this.additions += additions
    if (this.additions > EXACT_ADDITIONS)
      throw new AttncError(
        'CALIBRATION_TOO_LONG',
        'usage',
        `More than ${EXACT_ADDITIONS} prompts are more than sums can hold exactly.`,
        { suggestions: ['Use less data, with --samples.'] },
      )
  }

  merge(other: Sums): void {
    this.count(other.prompts, other.tokens, other.additions)
    this.absolute.merge(other.absolute)
    if (other.moments) this.moments?.merge(other.moments)
  }

  finish(): Statistics {
    const { size, prompts, tokens } = this
    const moments = this.moments && unfold(this.moments, size)
    return { size, prompts, tokens, moments, absolute: this.absolute.values() }
  }
}

/** A symmetric matrix [n, n] from its upper triangle. */
function unfold(triangle: ExactSums, n: number): Float64Array {
  const matrix = new Float64Array(n * n)
  for (let row = 0, at = 0; row < n; row++)
    for (let column = row; column < n; column++, at++) {
      const value = triangle.value(at)
      matrix[row * n + column] = value
      matrix[column * n + row] = value
    }
  return matrix
}
