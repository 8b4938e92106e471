/** Targets held against what a cut model takes: before, asked, reached. */
import {
  type CostName,
  type CountedCost,
  isGain,
  isMeasured,
  type MeasuredCost,
} from '../bench/cost.js'
import type { Ratio } from '../bench/statistics.js'
import { AttncError } from '../errors.js'
import type { Demand } from '../plan/pass.js'
import type { PlanPart } from '../plan/plan.js'
import type { RunOptions } from '../runtime/batches.js'
import { type CountedCosts, cacheCosts, costsOf, cutCopy, type Subject } from './costs.js'
import { type Clock, measureCost } from './measured-cost.js'
import type { Target } from './target.js'

/** What measuring can tell: it is met within this share of what was asked. */
export const tolerance = 0.03

/** What came of a target. */
export interface TargetResult {
  readonly target: Target
  /**
   * Of the original; parameters, bytes, operations, bytes a token, milliseconds or tokens a second,
   * as the others are.
   */
  readonly before: number
  readonly asked: number
  readonly reached: number
  /** Of what is measured: cut ÷ original, of turns that ran one after the other. */
  readonly ratio: Ratio | undefined
  /** What time was measured by. */
  readonly clock?: Clock | undefined
  /** reached ÷ asked, or asked ÷ reached of what there is to be more of. */
  readonly excess: number
  readonly isMet: boolean
}

const wordings: Readonly<Record<CostName, string>> = {
  params: 'learned numbers',
  size: 'bytes of weights',
  flops: 'products with weights as they are stored',
  kv: 'the key-value cache that a model takes',
  latency: 'time',
  throughput: 'tokens a second',
  memory: 'memory',
}

export class TargetScale {
  private constructor(
    private readonly targets: readonly Target[],
    private readonly subject: Subject,
    private readonly options: RunOptions,
    private readonly before: CountedCosts,
  ) {}

  /** Error: TARGET_NOTHING. */
  static open(targets: readonly Target[], subject: Subject, options: RunOptions): TargetScale {
    const hasCache = targets.some(({ kind }) => kind === 'kv')
    const before = costsOf({ ...subject, parts: [] }, hasCache)
    const empty = targets.find(({ kind }) => !isMeasured(kind) && before[kind] === 0)
    if (empty)
      throw new AttncError(
        'TARGET_NOTHING',
        'usage',
        `The target "${empty.text}" counts ${wordings[empty.kind]}, and there is nothing of it here.`,
        { suggestions: ['Name the folder or file that has it, or another target.'] },
      )
    return new TargetScale(targets, subject, options, before)
  }

  get hasMeasured(): boolean {
    return this.targets.some(({ kind }) => isMeasured(kind))
  }

  /** What cached heads have to lose together. */
  get least(): Demand['least'] {
    const asked = this.targets.filter(({ kind }) => kind === 'kv').map((each) => this.limitOf(each))
    const amount = this.before.kv - Math.min(...asked)
    return amount > 0 ? { costs: cacheCosts(this.subject), amount } : undefined
  }

  /** Targets that can be counted. */
  count(part: PlanPart): TargetResult[] {
    const counted = this.targets.filter(({ kind }) => !isMeasured(kind))
    if (counted.length === 0) return []
    const after = costsOf(this.with(part), this.before.kv > 0)
    return counted.map((target) => {
      const { kind } = target as { kind: CountedCost }
      const [before, asked, reached] = [this.before[kind], this.limitOf(target), after[kind]]
      const excess = reached / asked
      return { target, before, asked, reached, ratio: undefined, excess, isMet: excess <= 1 }
    })
  }

  /** All targets, in the order in which they were given. */
  async measure(part: PlanPart): Promise<TargetResult[]> {
    const found = this.count(part)
    for (const target of this.targets)
      if (isMeasured(target.kind)) found.push(await this.run(target, target.kind, part))
    return found.sort((a, b) => this.targets.indexOf(a.target) - this.targets.indexOf(b.target))
  }

  private async run(target: Target, kind: MeasuredCost, part: PlanPart): Promise<TargetResult> {
    const { subject, options } = this
    const models = [subject.source, cutCopy(this.with(part))] as const
    const found = await measureCost(kind, models, target.shape, options)
    const { before, after: reached, ratio, clock } = found
    const asked = target.isShare ? target.limit * before : target.limit
    const share = target.isShare ? ratio.ratio / target.limit : reached / asked
    const excess = isGain(kind) ? 1 / share : share
    const isBetter = isGain(kind) ? ratio.ratio > 1 : ratio.ratio < 1
    const [middle, low, high] = [ratio.ratio, ratio.low, ratio.high].map((n) => n.toFixed(3))
    options.log.info(
      `Measured ${middle} (${low}–${high}) of the original's ${kind}${clock === 'processor' ? ', in processor time' : ''}.`,
    )
    const isMet = excess <= 1 + tolerance && isBetter
    return { target, before, asked, reached, ratio, clock, excess, isMet }
  }

  private with(part: PlanPart): Subject {
    return { ...this.subject, parts: [...this.subject.parts, part] }
  }

  private limitOf({ kind, limit, isShare }: Target): number {
    return isShare && !isMeasured(kind) ? limit * this.before[kind] : limit
  }
}

/** What is left, as a share of the original. */
export const shareOf = ({ reached, before, ratio }: TargetResult): number =>
  ratio?.ratio ?? reached / before

/** The result as a target that it would meet. */
export function nearestTarget(result: TargetResult): string {
  const [, shape] = result.target.text.split('@')
  const isUp = !isGain(result.target.kind)
  const share = Math[isUp ? 'ceil' : 'floor'](shareOf(result) * 1000) / 1000
  return `${result.target.kind}=${share}x${shape === undefined ? '' : `@${shape}`}`
}

export const describeMissed = (result: TargetResult): string => {
  const { target, asked, before } = result
  return `"${target.text}" asks for ${(asked / before).toPrecision(3)} of the original, and ${shareOf(result).toPrecision(3)} is left`
}

/** Results as plain JSON. */
export const targetsJson = (results: readonly TargetResult[]) =>
  results.map((result) => {
    const { target, before, asked, reached, ratio, clock, isMet } = result
    return {
      target: target.text,
      before,
      asked,
      reached,
      share: shareOf(result),
      ...(ratio && { low: ratio.low, high: ratio.high, clock }),
      met: isMet,
    }
  })
