/** The result in one sentence, the first thing on the page; and what was held against conditions. */
import { describeChange, describeQuality } from '../../amounts.js'
import { lowerIsBetter } from '../../evaluate/metric-name.js'
import { type Html, html } from '../html.js'
import type { Change, ConditionEntry, Quality, ReportData } from '../report-data.js'

export interface Verdict {
  readonly sentence: string
  /** What the sentence leaves open. */
  readonly open: readonly string[]
}

/** Only what was measured is said. */
export function judgeReport({ savings, quality }: ReportData): Verdict {
  const { parameters, diskBytes, cacheBytesPerToken, timing } = savings
  const size = shrinkOf(parameters, diskBytes)
  const cache =
    cacheBytesPerToken && cacheBytesPerToken.after < cacheBytesPerToken.before
      ? `${percentLess(cacheBytesPerToken)} less cache`
      : undefined
  const gains = [size, cache, timing?.ratios ? speedOf(timing.ratios.prefill) : undefined].filter(
    (each) => each !== undefined,
  )
  const [first] = quality
  const sentence = `${joined(gains)}${first ? `, ${priceOf(first)}` : ''}.`
  const open = [
    ...(first ? [] : ['quality was not measured']),
    ...(timing ? [] : ['speed was not measured']),
  ]
  // A number and its unit stay on one line.
  const whole = sentence.replaceAll(' %', '\u00a0%')
  return { sentence: whole.charAt(0).toUpperCase() + whole.slice(1), open }
}

const percentLess = (pair: Change<number>): string =>
  describeChange(pair.before, pair.after).replace('−', '')

/** Fewer bits save what fewer parameters don't: then the files are said too. */
function shrinkOf(parameters: Change<number>, diskBytes: Change<number>): string {
  const { before, after } = parameters
  const count =
    after === before
      ? 'as many parameters as before'
      : `${describeChange(before, after).replace(/^[−+]/, '')} ${after < before ? 'fewer' : 'more'} parameters`
  const left = diskBytes.after / diskBytes.before
  return left < 0.9 * (after / before) ? `${percentLess(diskBytes)} less on disk, ${count}` : count
}

/** A ratio whose interval holds 1 says nothing of which is faster. */
function speedOf({ ratio, low, high }: { ratio: number; low: number; high: number }): string {
  if (low <= 1 && high >= 1) return 'no measurable change in speed'
  return ratio < 1
    ? `${(1 / ratio).toFixed(2)}\u00a0× the speed`
    : `${ratio.toFixed(2)}\u00a0× the time`
}

function priceOf({ metric, before, after }: Quality): string {
  const article = /^(a|ndcg)/.test(metric) ? 'an' : 'a'
  if (before === null)
    return `with ${article} ${metric} of ${describeQuality(after)} to the original`
  const isWorse = lowerIsBetter.has(metric) ? after > before : after < before
  const text = `${metric} of ${describeQuality(after)} instead of ${describeQuality(before)}`
  return isWorse ? `for ${article} ${text}` : `with ${article} ${text}`
}

const joined = (parts: readonly string[]): string =>
  parts.length < 2 ? parts.join('') : `${parts.slice(0, -1).join(', ')} and ${parts.at(-1)}`

export function renderVerdict(data: ReportData): Html {
  const { sentence, open } = judgeReport(data)
  const { check, targets, conditions, skipped } = data.provenance
  const marks = [
    ...(check ? [badge(true, describeCheck(check.largest))] : []),
    ...targets.map(({ target, isMet }) =>
      badge(isMet, `target ${target} ${isMet ? 'met' : 'missed'}`),
    ),
    ...conditions.map(({ condition, result, isMissed }) =>
      badge(!isMissed, `${condition}: ${describeCondition(result, isMissed)}`),
    ),
    ...(skipped.length > 0
      ? [
          badge(
            false,
            `${skipped.length} ${skipped.length === 1 ? 'block' : 'blocks'} could lose nothing`,
          ),
        ]
      : []),
    ...(isMasked(data) ? [html`<li class="open">masked, not cut: sizes stay</li>`] : []),
    ...open.map((text) => html`<li class="open">${text}</li>`),
  ]
  return html`<div class="verdict">
<p class="names"><span>${data.names.before}</span> <span aria-hidden="true">→</span><span class="hidden"> became </span> <span>${data.names.after}</span></p>
<h1>${sentence}</h1>
${marks.length > 0 && html`<ul class="badges">${marks}</ul>`}
</div>`
}

const isMasked = ({ layers, savings }: ReportData): boolean =>
  savings.parameters.after === savings.parameters.before &&
  layers.some(({ strips }) => strips.some(({ removed }) => removed.length > 0))

const describeCheck = (largest: number): string =>
  `equals its masked self${largest > 0 ? ` within ${largest.toExponential(0)}` : ''}`

/** Undecided is said, and what came of it. */
export const describeCondition = (result: ConditionEntry['result'], isMissed: boolean): string =>
  `${result === 'undecided' ? 'undecided, ' : ''}${isMissed ? 'failed' : 'passed'}`

const badge = (isGood: boolean, text: string): Html =>
  html`<li class="${isGood ? 'good' : 'bad'}"><span aria-hidden="true">${isGood ? '✓' : '!'}</span> ${text}</li>`
