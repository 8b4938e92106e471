/**
 * What a pass saw when it decided: what each dimension would cost, how training went. It travels in the
 * plan for people and reports; carrying a plan out never reads it. Numbers have four digits and long
 * curves few points, so that a plan stays a file that people open.
 */

export interface Findings {
  /** What `errors` are, in words; null where the pass only put units in an order. */
  readonly measure?: string | null
  readonly sensitivity?: readonly Sensitivity[]
  readonly training?: Training
}

/** One dimension as the pass ranked it. */
export interface Sensitivity {
  readonly dimension: string
  /** Units that come or go together. */
  readonly units: number
  /** After so many units are gone … */
  readonly gone?: readonly number[]
  /** … this is lost in all. */
  readonly errors?: readonly number[]
  /** Milliseconds of operators that are saved then, where a target of time had them timed. */
  readonly saved?: readonly number[]
  /** Units in the order in which they go; left out where there are many. */
  readonly order?: readonly number[]
}

export interface Training {
  readonly curve: readonly TrainingPoint[]
  readonly updates: number
  /** Held-out loss before and at its best. */
  readonly before?: number
  readonly best?: number
  /** Numbers that were trained. */
  readonly trained?: number
  /** Windows of text that the original model made up to be learned from. */
  readonly made?: number
}

export interface TrainingPoint {
  readonly update: number
  readonly training: number
  readonly heldOut?: number
  /** Share that is masked away, where masks are learned. */
  readonly sparsity?: number
}

/** Points of a curve that is longer. */
const points = 24

/** Orders of dimensions with more units are left out. */
const mostOrdered = 256

/** A ranking as findings keep it; `errors[i]` is what is lost after the first i + 1 units of `order`. */
export function sensitivityOf(
  dimension: string,
  units: number,
  ranking: { readonly order: readonly number[]; readonly errors: readonly number[] },
): Sensitivity {
  const { order, errors } = ranking
  const steps = Math.min(errors.length, units <= mostOrdered ? errors.length : points)
  const gone = Array.from({ length: steps }, (_, at) =>
    Math.max(1, Math.round(((at + 1) * errors.length) / steps)),
  )
  return {
    dimension,
    units,
    ...(steps > 0 && { gone, errors: gone.map((count) => short(errors[count - 1] as number)) }),
    ...(units <= mostOrdered && { order }),
  }
}

/** Every so many of the points of a curve, the last among them. */
export function thinned<Point>(curve: readonly Point[], most = 200): readonly Point[] {
  const step = Math.ceil(curve.length / most)
  return curve.filter((_, at) => (curve.length - 1 - at) % step === 0)
}

export const short = (value: number): number => Number(value.toPrecision(4))

/** Whether parsed JSON has the shape of findings: plans come from anywhere. */
export function isFindings(value: unknown): value is Findings {
  const { measure, sensitivity, training } = (value ?? {}) as Partial<Findings>
  return (
    typeof value === 'object' &&
    value !== null &&
    (measure === undefined || measure === null || typeof measure === 'string') &&
    isListOf(sensitivity, isSensitivity) &&
    (training === undefined || isTraining(training))
  )
}

const isListOf = (list: unknown, isEntry: (entry: unknown) => boolean): boolean =>
  list === undefined || (Array.isArray(list) && list.every(isEntry))

const isNumber = (value: unknown): boolean => typeof value === 'number' && Number.isFinite(value)
const isAbsentOrNumber = (value: unknown): boolean => value === undefined || isNumber(value)

function isSensitivity(value: unknown): boolean {
  const { dimension, units, gone, errors, saved, order } = (value ?? {}) as Partial<Sensitivity>
  const isPaired =
    (gone?.length ?? 0) === (errors?.length ?? 0) && (saved ?? gone)?.length === gone?.length
  return (
    typeof dimension === 'string' &&
    isNumber(units) &&
    [gone, errors, saved, order].every((list) => isListOf(list, isNumber)) &&
    isPaired
  )
}

export function isTraining(value: unknown): value is Training {
  const { curve, updates, before, best, trained, made } = (value ?? {}) as Partial<Training>
  return (
    Array.isArray(curve) &&
    curve.every(isPoint) &&
    isNumber(updates) &&
    [before, best, trained, made].every(isAbsentOrNumber)
  )
}

function isPoint(value: unknown): boolean {
  const { update, training, heldOut, sparsity } = (value ?? {}) as Partial<TrainingPoint>
  return isNumber(update) && isNumber(training) && [heldOut, sparsity].every(isAbsentOrNumber)
}
