/**
 * Carries out the counts of one block: which units go, given everything before it, and the projection
 * that answers for them.
 */
import type { Products } from '../linear-algebra/products.js'
import type { ValueFrame } from '../model/value-frame.js'
import type { PlanSlice, RefittedProjection } from '../plan/plan.js'
import { Elimination, type Ranking } from './elimination.js'
import type { Metric } from './metric.js'
import type { Observation } from './observe.js'
import type { Choice, PrunableBlock } from './prunable.js'
import {
  findValueBasis,
  turnMoments,
  turnRows,
  turnWithInverse,
  type ValueBasis,
} from './value-basis.js'

export interface Refitted {
  readonly slices: readonly PlanSlice[]
  readonly projection: RefittedProjection
  /** The same projection on values in their old basis, all rows: [n, D]. */
  readonly weight: Float64Array
}

export interface RefitOptions {
  readonly counts: ReadonlyMap<Choice, number>
  readonly ridge: number
  /** Orders that were decided before; without them units are chosen anew on what is observed. */
  readonly fixed: ReadonlyMap<Choice, Ranking> | undefined
  /** Rows that went with a dimension of an earlier block. */
  readonly gone: readonly number[]
  readonly products: Products
  readonly metric: Metric | undefined
}

export async function refitBlock(
  block: PrunableBlock,
  observation: Observation,
  options: RefitOptions,
): Promise<Refitted | undefined> {
  const { projection, choices } = block
  if (!projection) return undefined
  const { counts, ridge, products } = options
  // A metric mixes outputs, of groups as well.
  const metric = projection.groups === 1 ? options.metric : undefined
  const { columns, rows: n } = projection
  const { moments, missing, tokens } = centred(observation, n, columns)
  const old = projection.read()
  const weight = old.slice()
  const frame = choices.find((choice) => choice.frame && (counts.get(choice) ?? 0) > 0)?.frame
  const basis = frame && findValueBasis(frame, moments, weight, columns)
  const turned = frame && basis && { frame, ...basis }
  if (turned) turnOver({ moments, missing, weight }, columns, turned)
  using elimination = await Elimination.open(
    {
      moments,
      missing: missing && metric ? await metric.turn(missing) : missing,
      tokens,
      weight: metric ? await metric.turn(weight) : weight,
      columns,
      ridge,
      groups: projection.groups,
    },
    products,
  )
  const { slices, lost } = await dropUnits(elimination, choices, options)
  const fitted = metric ? await metric.turnBack(elimination.weight()) : elimination.weight()
  const kept = Array.from({ length: n }, (_, row) => row).filter((row) => !lost.has(row))
  const own = new Float32Array(kept.length * columns)
  for (const [to, from] of kept.entries())
    own.set(fitted.subarray(from * columns, (from + 1) * columns), to * columns)
  if (turned) turnBack(fitted, columns, turned)
  const shift = shiftOf(observation, old, fitted, columns)
  return {
    slices,
    weight: fitted,
    projection: {
      block: block.key,
      rows: kept.length,
      columns,
      weight: own,
      ...(shift && { shift }),
      ...(turned && {
        basis: {
          heads: turned.frame.heads,
          size: turned.frame.size,
          numbers: Float32Array.from(turned.basis),
        },
      }),
    },
  }
}

/** Units go as they were chosen before, or else by what is observed; `lost` are their rows, and those gone before. */
async function dropUnits(
  elimination: Elimination,
  choices: readonly Choice[],
  { counts, fixed, gone }: RefitOptions,
): Promise<{ readonly slices: readonly PlanSlice[]; readonly lost: ReadonlySet<number> }> {
  const slices: PlanSlice[] = []
  const lost = new Set(gone)
  if (gone.length > 0) await elimination.dropRows(gone)
  for (const choice of choices) {
    const count = counts.get(choice) ?? 0
    if (count === 0) continue
    const rows = choice.units.map((unit) => unit.rows)
    const order = fixed
      ? (fixed.get(choice)?.order.slice(0, count) ?? [])
      : (await elimination.drop(rows, count)).order
    if (fixed) await elimination.dropRows(order.flatMap((unit) => rows[unit] ?? []))
    const remove = order.flatMap((unit) => choice.units[unit]?.members ?? [])
    slices.push({ dimension: choice.dimension.id, remove: remove.sort((a, b) => a - b) })
    for (const unit of order) for (const row of rows[unit] ?? []) lost.add(row)
  }
  return { slices, lost }
}

/** Values of heads in a basis of their own. */
interface Turned extends ValueBasis {
  readonly frame: ValueFrame
}

/** Everything that is about values, in their new basis. */
function turnOver(
  own: {
    readonly moments: Float64Array
    readonly missing: Float64Array | undefined
    readonly weight: Float64Array
  },
  columns: number,
  { frame, basis, inverse }: Turned,
): void {
  const { size } = frame
  turnMoments(own.moments, frame, basis)
  turnWithInverse(own.weight, columns, frame, inverse)
  if (own.missing)
    turnRows(
      own.missing,
      columns,
      frame,
      (h, to, from) => basis[(h * size + from) * size + to] as number,
    )
}

function turnBack(fitted: Float64Array, columns: number, { frame, basis }: Turned): void {
  const { size } = frame
  turnRows(fitted, columns, frame, (h, to, from) => basis[(h * size + to) * size + from] as number)
}

/** Moments about the mean, where a bias will carry the mean. */
function centred({ moments, missing, tokens, means }: Observation, n: number, columns: number) {
  const own = { moments: moments.slice(), missing: missing?.slice(), tokens }
  if (!means) return own
  const { weights, inputs, gaps } = means
  for (let i = 0; i < n; i++) {
    const share = (inputs[i] as number) / weights
    for (let j = 0; j < n; j++)
      own.moments[i * n + j] = (own.moments[i * n + j] as number) - share * (inputs[j] as number)
    for (let c = 0; own.missing && c < columns; c++)
      own.missing[i * columns + c] =
        (own.missing[i * columns + c] as number) - share * (gaps[c] as number)
  }
  return own
}

/** What the bias has to add: mean δ + x̄ᵀ(W − W′). */
function shiftOf(
  { means }: Observation,
  old: Float64Array,
  fitted: Float64Array,
  columns: number,
): Float32Array | undefined {
  if (!means) return undefined
  const { weights, inputs, gaps } = means
  const shift = Float64Array.from(gaps, (gap) => gap / weights)
  for (let i = 0; i < inputs.length; i++) {
    const mean = (inputs[i] as number) / weights
    for (let c = 0; c < columns; c++) {
      const at = i * columns + c
      shift[c] = (shift[c] as number) + mean * ((old[at] as number) - (fitted[at] as number))
    }
  }
  return Float32Array.from(shift)
}
