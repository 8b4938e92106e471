/**
 * The frontier of quality against size: one calibration, a plan and a measurement for each ratio. Every
 * ratio is kept in a folder as soon as it is done, so that a run that was stopped goes on where it was.
 */
import { createHash } from 'node:crypto'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { calibrate } from '../calibrate/calibrate.js'
import type { Calibration } from '../calibrate/state.js'
import { digestBatches } from '../calibrate/state.js'
import type { Batch } from '../data/batch.js'
import { AttncError } from '../errors.js'
import { evaluate, type Measured } from '../evaluate/evaluate.js'
import { lowerIsBetter, type MetricName } from '../evaluate/metric-name.js'
import { readModel } from '../model/model.js'
import { type LoadedModel, loadFrom } from '../model-folder/load.js'
import type { ChosenPass } from '../plan/pass.js'
import { writePlan } from '../plan/plan-file.js'
import type { RunOptions } from '../runtime/batches.js'
import { writeWhole } from '../write-whole.js'
import { cutCopy } from './costs.js'
import { decidePlan } from './decide.js'
import { type Totals, totalsOf } from './report.js'

/** Which ratios are tried, and what judges them. */
export interface SweepOptions extends RunOptions {
  readonly source: LoadedModel
  readonly ratios: readonly number[]
  readonly passesOf: (ratio: number) => readonly ChosenPass[]
  /** What the passes were told beside the ratio, as plain JSON: other settings are another sweep. */
  readonly settings: unknown
  readonly batches?: readonly Batch[] | undefined
  readonly calibration?: Calibration | undefined
  readonly evaluate: { readonly batches: readonly Batch[]; readonly metric: MetricName }
  readonly output: string
  readonly single: boolean
}

/** Cost and quality at one ratio. */
export interface SweepPoint extends Totals, Measured {
  /** 0 is the original. */
  readonly ratio: number
  /** File of the plan, relative to the folder. */
  readonly plan: string | null
}

/** Cost against quality: what `attnc sweep --json` prints. */
export interface Sweep {
  readonly format: 1
  /** Digest of model, data and settings. */
  readonly key: string
  /** By ratio, the original first. */
  readonly points: readonly SweepPoint[]
  /** The ratio after which quality falls faster; null where there are fewer than two. */
  readonly knee: number | null
}

const file = 'sweep.json'

/** Errors: SWEEP_OTHER, SWEEP_FORMAT, OUTPUT_UNWRITABLE, those of `decidePlan` and `evaluate`. */
export async function sweep(options: SweepOptions): Promise<Sweep> {
  const { source, output, ratios, log } = options
  const key = await keyOf(options)
  let found =
    readSweep(output, key) ??
    withPoint({ format: 1, key, points: [], knee: null }, await pointOf(options, 0))
  let { calibration } = options
  for (const [index, ratio] of ratios.entries()) {
    if (found.points.some((point) => point.ratio === ratio)) continue
    log.info(`Ratio ${ratio}, ${index + 1} of ${ratios.length}.`)
    const { batches } = options
    if (batches)
      calibration ??= await calibrate(source.model, { ...options, batches, moments: true })
    found = withPoint(found, await pointOf({ ...options, calibration }, ratio))
    writeSweep(output, found)
  }
  return found
}

async function pointOf(options: SweepOptions, ratio: number): Promise<SweepPoint> {
  const { source, single, output } = options
  const name = `plan-${ratio}.json`
  const plan =
    ratio > 0 ? await decidePlan({ ...options, passes: options.passesOf(ratio) }) : undefined
  const { model } = cutCopy({ source, single, parts: plan?.plan.parts ?? [] })
  const { batches, metric } = options.evaluate
  const reference = loadFrom(source.location, source.file).model
  const [measured] = await evaluate(model, { ...options, batches, metrics: [metric], reference })
  const { value, samples } = measured as Measured
  if (plan) writePlan(join(output, name), plan.plan)
  const totals = totalsOf(model, readModel(model.graph))
  return { ratio, ...totals, metric, value, samples, plan: plan ? name : null }
}

function withPoint(sweep: Sweep, point: SweepPoint): Sweep {
  const points = [...sweep.points, point].sort((one, other) => one.ratio - other.ratio)
  return { ...sweep, points, knee: findKnee(points) }
}

/**
 * The point farthest on the good side of the line from the first to the last (Satopää et al. 2011,
 * "Finding a Kneedle in a Haystack"). Perplexity counts by its logarithm, which is the loss.
 */
export function findKnee(
  points: readonly Pick<SweepPoint, 'parameters' | 'metric' | 'value' | 'ratio'>[],
): number | null {
  const [first] = points
  const last = points.at(-1)
  if (!first || !last || points.length < 3) return null
  const lossOf = ({ metric, value }: Pick<SweepPoint, 'metric' | 'value'>): number =>
    metric === 'perplexity' ? Math.log(value) : lowerIsBetter.has(metric) ? value : -value
  const width = first.parameters - last.parameters
  const height = lossOf(last) - lossOf(first)
  const gains = points.map((point) => {
    const x = (first.parameters - point.parameters) / width
    return { ratio: point.ratio, gain: x * height - (lossOf(point) - lossOf(first)) }
  })
  const inner = gains.slice(1, -1)
  return inner.reduce((best, each) => (each.gain > best.gain ? each : best)).ratio
}

async function keyOf(options: SweepOptions): Promise<string> {
  const { source, settings, batches = [], evaluate: wanted, signal } = options
  const parts = [
    await source.digest(signal),
    JSON.stringify(settings),
    digestBatches(batches),
    digestBatches(wanted.batches),
    wanted.metric,
  ]
  return createHash('sha256').update(parts.join('\n')).digest('hex')
}

function readSweep(folder: string, key: string): Sweep | undefined {
  const path = join(folder, file)
  if (!existsSync(path)) return undefined
  let found: Partial<Sweep>
  try {
    found = JSON.parse(readFileSync(path, 'utf8')) as Partial<Sweep>
  } catch (cause) {
    throw new AttncError('SWEEP_FORMAT', 'usage', `"${path}" can't be read as a sweep.`, {
      cause,
      suggestions: ['Name another folder, or remove this one.'],
    })
  }
  if (found.key !== key || found.format !== 1 || !Array.isArray(found.points))
    throw new AttncError(
      'SWEEP_OTHER',
      'usage',
      `"${folder}" holds a sweep of another model, other data or other settings.`,
      { suggestions: ['Name another folder with -o, or remove this one.'] },
    )
  return found as Sweep
}

/** A run that is stopped leaves the last whole state. */
const writeSweep = (folder: string, sweep: Sweep): void =>
  writeWhole(join(folder, file), `${JSON.stringify(sweep, null, 2)}\n`)
