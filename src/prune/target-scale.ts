/** Targets held against what a cut model takes: before, asked, reached. */
import type { Ratio } from '../bench/statistics.js'
import { AttncError } from '../errors.js'
import type { Demand } from '../plan/pass.js'
import type { PlanPart } from '../plan/plan.js'
import type { RunOptions } from '../runtime/batches.js'
import { type Costs, cacheCosts, costsOf, cutCopy, type Subject } from './costs.js'
import { measureLatency } from './latency.js'
import type { Target, TargetKind } from './target.js'

/** What timing can tell: a latency is met within this share of what was asked. */
export const tolerance = 0.03

export interface TargetResult {
  readonly target: Target
  /** Of the original; parameters, bytes, operations, bytes a token or milliseconds, as the others are. */
  readonly before: number
  readonly asked: number
  readonly reached: number
  /** Of latencies: cut ÷ original, of turns that ran one after the other. */
  readonly ratio: Ratio | undefined
  /** reached ÷ asked. */
  readonly excess: number
  readonly isMet: boolean
}

const wordings: Readonly<Record<TargetKind, string>> = {
  params: 'learned numbers',
  size: 'bytes of weights',
  flops: 'products with weights as they are stored',
  kv: 'the key-value cache that a model takes',
  latency: 'time',
}

export class TargetScale {
  private constructor(
    private readonly targets: readonly Target[],
    private readonly subject: Subject,
    private readonly options: RunOptions,
    private readonly before: Costs,
  ) {}

  /** Error: TARGET_NOTHING. */
  static open(targets: readonly Target[], subject: Subject, options: RunOptions): TargetScale {
    const hasCache = targets.some(({ kind }) => kind === 'kv')
    const before = costsOf({ ...subject, parts: [] }, hasCache)
    const empty = targets.find(({ kind }) => kind !== 'latency' && before[kind] === 0)
    if (empty)
      throw new AttncError(
        'TARGET_NOTHING',
        'usage',
        `The target "${empty.text}" counts ${wordings[empty.kind]}, and there is nothing of it here.`,
        { suggestions: ['Name the folder or file that has it, or another target.'] },
      )
    return new TargetScale(targets, subject, options, before)
  }

  get isTimed(): boolean {
    return this.targets.some(({ kind }) => kind === 'latency')
  }

  /** What cached heads have to lose together. */
  get least(): Demand['least'] {
    const asked = this.targets.filter(({ kind }) => kind === 'kv').map((each) => this.limitOf(each))
    const amount = this.before.kv - Math.min(...asked)
    return amount > 0 ? { costs: cacheCosts(this.subject), amount } : undefined
  }

  /** Targets that can be counted. */
  count(part: PlanPart): TargetResult[] {
    const counted = this.targets.filter(({ kind }) => kind !== 'latency')
    if (counted.length === 0) return []
    const after = costsOf(this.with(part), this.before.kv > 0)
    return counted.map((target) => {
      const { kind } = target as { kind: keyof Costs }
      const [before, asked, reached] = [this.before[kind], this.limitOf(target), after[kind]]
      const excess = reached / asked
      return { target, before, asked, reached, ratio: undefined, excess, isMet: excess <= 1 }
    })
  }

  /** All targets, in the order in which they were given. */
  async measure(part: PlanPart): Promise<TargetResult[]> {
    const found = this.count(part)
    for (const target of this.targets)
      if (target.kind === 'latency') found.push(await this.time(target, part))
    return found.sort((a, b) => this.targets.indexOf(a.target) - this.targets.indexOf(b.target))
  }

  private async time(target: Target, part: PlanPart): Promise<TargetResult> {
    const { subject, options } = this
    const cut = cutCopy(this.with(part))
    const found = await measureLatency(subject.source, cut, target.shape, options)
    const { before, after: reached, ratio } = found
    const asked = target.isShare ? target.limit * before : target.limit
    const excess = target.isShare ? ratio.ratio / target.limit : reached / asked
    const isMet = excess <= 1 + tolerance && ratio.ratio < 1
    const [share, low, high] = [ratio.ratio, ratio.low, ratio.high].map((n) => n.toFixed(3))
    options.log.info(`Measured ${share} (${low}–${high}) of the original's latency.`)
    return { target, before, asked, reached, ratio, excess, isMet }
  }

  private with(part: PlanPart): Subject {
    return { ...this.subject, parts: [...this.subject.parts, part] }
  }

  private limitOf({ kind, limit, isShare }: Target): number {
    return isShare && kind !== 'latency' ? limit * this.before[kind] : limit
  }
}

/** What is left, as a share of the original. */
export const shareOf = ({ reached, before, ratio }: TargetResult): number =>
  ratio?.ratio ?? reached / before

/** The result as a target that it would meet. */
export function nearestTarget(result: TargetResult): string {
  const [, shape] = result.target.text.split('@')
  const share = Math.ceil(shareOf(result) * 1000) / 1000
  return `${result.target.kind}=${share}x${shape === undefined ? '' : `@${shape}`}`
}

export const describeMissed = (result: TargetResult): string => {
  const { target, asked, before } = result
  return `"${target.text}" asks for ${(asked / before).toPrecision(3)} of the original, and ${shareOf(result).toPrecision(3)} is left`
}

/** Results as plain JSON. */
export const targetsJson = (results: readonly TargetResult[]) =>
  results.map((result) => {
    const { target, before, asked, reached, ratio, isMet } = result
    return {
      target: target.text,
      before,
      asked,
      reached,
      share: shareOf(result),
      ...(ratio && { low: ratio.low, high: ratio.high }),
      met: isMet,
    }
  })
