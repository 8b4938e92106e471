/**
 * Cuts a model so that all targets are met, and by no more than that takes. How much has to go is
 * searched for on outlines, which cost little; only what was found is decided in full. What can be
 * counted is counted on the cut graph. Time and memory are measured on it, in turns with the original:
 * they depend on sizes and not on numbers. Calibration and ranking happen once.
 */
import { isGain } from '../bench/cost.js'
import type { TransformerModel } from '../model/model.js'
import { type Sensitivity, short } from '../plan/findings.js'
import type { Cut, Cutter, Demand, Outline, PassContext } from '../plan/pass.js'
import type { PlanPart } from '../plan/plan.js'
import type { Subject } from './costs.js'
import { type Forecast, forecastTime } from './forecast.js'
import type { Target } from './target.js'
import { budgetMissed, refuseMet, refuseUnreachable } from './target-errors.js'
import { type TargetResult, TargetScale, tolerance } from './target-scale.js'

export interface MeetOptions {
  readonly cut: Cut
  readonly targets: readonly Target[]
  readonly subject: Subject
  readonly context: PassContext
}

export interface Met {
  readonly part: PlanPart
  readonly results: readonly TargetResult[]
}

/** How far above its targets a model is when so much goes. */
interface Point {
  readonly ratio: number
  /** The largest reached ÷ asked. */
  readonly excess: number
}

const countsAtMost = 16
const outlinesAtMost = 6
const decisionsAtMost = 3
/** Halvings; outlines cost next to nothing. */
const forecasts = 12
/** Where a target is counted, this near below it is near enough. */
const slack = 0.001
/** A little below what is measured, so that half of all measurements don't miss it. */
const aim = 1 - tolerance / 3

/** Errors: TARGET_NOTHING, TARGET_UNREACHABLE, TARGET_MET, all before calibration; BUDGET_MISSED. */
export async function meetTargets(options: MeetOptions): Promise<Met> {
  const { cut, context, targets, subject } = options
  const scale = TargetScale.open(targets, subject, context)
  const all = cut.most(context)
  const nearest = await scale.measure({ slices: all.slices })
  refuseMet(nearest)
  refuseUnreachable(nearest)
  const timed = nearest.find(({ target: { kind } }) => kind === 'latency' || kind === 'throughput')
  const forecast = timed && (await forecastTime(scale, timed, all, options))
  const most = forecast ? cut.most(context, forecast.prices) : all
  await using cutter = await cut.open(context)
  const search = new TargetSearch(scale, cutter, most, forecast, context.view)
  const ratio = search.findCounted()
  if (scale.hasMeasured) return await search.findMeasured(ratio, nearest.filter(isRun))
  return await search.decide(ratio)
}

class TargetSearch {
  private readonly least: Demand['least']
  /** Of the original. */
  private before = Number.POSITIVE_INFINITY

  constructor(
    private readonly scale: TargetScale,
    private readonly cutter: Cutter,
    private readonly most: Outline,
    private readonly forecast: Forecast | undefined,
    private readonly view: TransformerModel,
  ) {
    this.least = scale.least
  }

  /** The least ratio that meets what can be counted. */
  findCounted(): number {
    let low = this.count(0)
    if (low.excess <= 1) return 0
    let high = this.count(this.most.ratio)
    for (let tries = 0; tries < countsAtMost && high.excess < 1 - slack; tries++) {
      // Units are whole: a little further each time, lest the same unit is left out again.
      const point = this.count(between(low, high, 1 - (slack / 16) * (tries + 1)))
      if (high.ratio - low.ratio < 1e-6) break
      if (point.excess <= 1) high = point
      else low = point
    }
    return high.ratio
  }

  /** From a ratio that meets all others to one that meets what is measured too, neither faster than needed. */
  async findMeasured(counted: number, nearest: readonly TargetResult[]): Promise<Met> {
    const all: Point = { ratio: this.most.ratio, excess: excessOf(nearest) }
    this.before = Math.max(...nearest.map(excessBefore))
    let low: Point = { ratio: 0, excess: this.before }
    let high = all
    const isStart = counted > 0 || this.least !== undefined
    let ratio = Math.max(counted, this.forecastRatio() ?? (isStart ? 0 : between(low, high, aim)))
    let best: Met | undefined
    for (let outlines = 1, decisions = 0; ; outlines++) {
      const point = await this.measure(ratio)
      if (point.excess <= 1) high = point
      else low = point
      const isEnough = ratio === counted && point.excess <= 1
      const isNear = Math.abs(point.excess - aim) < tolerance / 2
      const isSettled = high.ratio - low.ratio < 1e-3
      // All that may go is no answer while something less was never seen to be enough: better look again.
      const isWithin = high === all && point.excess <= 1 + tolerance
      const isEnded = high === all && !isWithin ? 2 * outlinesAtMost : outlinesAtMost
      const isLast = outlines >= isEnded || isSettled
      if (isEnough || isNear || isLast) {
        const chosen = isNear || isEnough || isWithin ? ratio : high.ratio
        const isFinal = ++decisions >= decisionsAtMost
        const met = await this.decide(chosen, !isFinal || best !== undefined)
        const excess = excessOf(met.results.filter(isRun))
        const isMet = met.results.every((each) => each.isMet)
        // More went than was needed: once more, with less.
        const isTooMuch = !isEnough && !isSettled && excess < 1 - tolerance
        if (isMet && (!isTooMuch || isFinal)) return met
        if (isFinal && best) return best
        if (isMet) best = met
        if (isMet) high = { ratio: chosen, excess }
        else low = { ratio: chosen, excess }
        if (high.ratio <= low.ratio) high = all
      }
      ratio = Math.max(counted, between(low, high, aim))
    }
  }

  /** The ratio of which the times of operators say that it meets the time. */
  private forecastRatio(): number | undefined {
    const { forecast, most } = this
    if (!forecast) return undefined
    let [low, high] = [0, most.ratio]
    for (let tries = 0; tries < forecasts; tries++) {
      const middle = (low + high) / 2
      if (forecast.excess(this.cutter.outline(this.demand(middle))) > aim) low = middle
      else high = middle
    }
    return high
  }

  /** Error: BUDGET_MISSED, unless there are more tries. */
  async decide(ratio: number, isRetried = false): Promise<Met> {
    const part = this.timed(await this.cutter.decide(this.demand(ratio)))
    const results = await this.scale.measure(part)
    const missed = results.filter(({ isMet }) => !isMet)
    if (missed.length > 0 && !isRetried) throw budgetMissed(results)
    return { part, results }
  }

  /** The part with what each dimension saves beside what it would cost. */
  private timed(part: PlanPart): PlanPart {
    const { forecast, view } = this
    const sensitivity = part.findings?.sensitivity
    if (!forecast || !sensitivity) return part
    const timed = sensitivity.map((each): Sensitivity => {
      const size = view.dimensions.find(({ id }) => id === each.dimension)?.size
      if (size === undefined || !each.gone) return each
      const saved = each.gone.map((units) => {
        const members = Math.round((units * size) / each.units)
        const remove = Array.from({ length: members }, (_, member) => member)
        return short(forecast.saved([{ dimension: each.dimension, remove }]))
      })
      return { ...each, saved }
    })
    return { ...part, findings: { ...part.findings, sensitivity: timed } }
  }

  private count(ratio: number): Point {
    const slices = this.cutter.outline(this.demand(ratio))
    return { ratio, excess: excessOf(this.scale.count({ slices })) }
  }

  private async measure(ratio: number): Promise<Point> {
    const slices = this.cutter.outline(this.demand(ratio))
    // Of less than a unit: the original, which noise must not make faster than it is.
    if (slices.length === 0) return { ratio, excess: this.before }
    const results = await this.scale.measure({ slices })
    return { ratio, excess: excessOf(results.filter(isRun)) }
  }

  private demand(ratio: number): Demand {
    const { prices, roundTo } = this.forecast ?? {}
    return { ratio, least: this.least, prices, roundTo }
  }
}

const isRun = ({ ratio }: TargetResult): boolean => ratio !== undefined

const excessBefore = ({ target: { kind }, before, asked }: TargetResult): number =>
  isGain(kind) ? asked / before : before / asked

const excessOf = (results: readonly TargetResult[]): number =>
  Math.max(0, ...results.map(({ excess }) => excess))

/** Where a line between two points has an excess, never at its ends. */
function between(low: Point, high: Point, excess: number): number {
  const fall = low.excess - high.excess
  const share = Number.isFinite(fall) && fall > 0 ? (low.excess - excess) / fall : 0.5
  return low.ratio + (high.ratio - low.ratio) * Math.min(0.98, Math.max(0.02, share))
}
