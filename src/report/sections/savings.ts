/** Before and after: five kinds of smaller, each in its own row, then speed in detail, then quality. */
import { describeBytes, describeChange, describeCount, describeQuality } from '../../amounts.js'
import type { BenchEntry, BenchResult } from '../../bench/bench.js'
import { lowerIsBetter } from '../../evaluate/metric-name.js'
import { type Html, html } from '../html.js'
import { absent, command, scrolling, section } from '../part.js'
import type { Change, Quality, ReportData } from '../report-data.js'

export function renderSavings({ savings, quality }: ReportData): Html {
  const { parameters, diskBytes, flopsPerToken, cacheBytesPerToken: cache, timing } = savings
  const prefill = timing && pairOf(timing, (entry) => entry.prefill.median)
  return section(
    'savings',
    'Before and after',
    html`${scrolling(
      'Before and after',
      html`<table class="amounts">
<thead><tr><th scope="col">Saving</th><th scope="col" class="number">before</th><th scope="col" class="number">after</th><th scope="col" class="number">change</th><th scope="col"><span class="hidden">share that is left</span></th></tr></thead>
<tbody>
${row('Parameters', parameters, describeCount)}
${row('On disk', diskBytes, describeBytes)}
${row('FLOPs, a token', flopsPerToken, describeCount)}
${cache ? row('Cache, a token', cache, describeBytes) : missing('Cache, a token', 'the model has none')}
${prefill ? row('Time, a run', prefill, milliseconds, timing?.ratios?.prefill.ratio) : missing('Time, a run', 'not measured')}
</tbody>
${timing && timingRows(timing)}
${quality.length > 0 && html`<tbody class="detail"><tr><th scope="rowgroup" colspan="5" class="caption">Quality</th></tr>${quality.map(qualityRow)}</tbody>`}
</table>`,
    )}
${timing ? html`<p class="note">${describeBench(timing)}</p>` : absent('Time was not measured', command('report … --bench'))}
${quality.length === 0 && absent('Quality was not measured', command('report … --eval eval.txt'))}`,
  )
}

/** `paired`: after ÷ before where that was measured in pairs, which says more than two medians. */
function row(
  name: string,
  pair: Change<number>,
  describe: (value: number) => string,
  paired?: number,
): Html {
  const { before, after } = pair
  const share = paired ?? (before > 0 ? after / before : 1)
  return html`<tr><th scope="row">${name}</th><td class="number">${describe(before)}</td><td class="number after">${describe(after)}</td><td class="number ${share > 1 ? 'worse' : ''}">${changeText(paired === undefined ? pair : { before: 1, after: share })}</td><td>${bar(share)}</td></tr>`
}

const changeText = ({ before, after }: Change<number>): string =>
  before === after ? 'the same' : before > 0 ? describeChange(before, after) : ''

/** The share that is left, within the whole; what is more than the whole is cut off. */
const bar = (share: number): Html =>
  html`<svg class="bar" width="160" height="12" aria-hidden="true"><rect class="whole" width="160" height="12" rx="2"/><rect class="left" width="${Math.round(160 * Math.min(1, share) * 10) / 10}" height="12" rx="2"/></svg>`

const missing = (name: string, why: string): Html =>
  html`<tr><th scope="row">${name}</th><td class="quiet" colspan="4">${why}</td></tr>`

const milliseconds = (value: number): string => `${value.toPrecision(3)} ms`

function pairOf({ models }: BenchResult, of: (entry: BenchEntry) => number): Change<number> | null {
  const [before, after] = models
  return before && after ? { before: of(before), after: of(after) } : null
}

/** What belongs to the measured time, where it was measured. */
function timingRows(timing: BenchResult): Html | false {
  const [before, after] = timing.models
  const rows = [
    before?.decode && after?.decode
      ? row(
          'Time, a token with the cache',
          { before: before.decode.median, after: after.decode.median },
          milliseconds,
          timing.ratios?.decode?.ratio,
        )
      : undefined,
    before?.memory && after?.memory
      ? row(
          'Peak memory',
          { before: before.memory.peakBytes, after: after.memory.peakBytes },
          describeBytes,
        )
      : undefined,
  ].filter((each) => each !== undefined)
  return rows.length > 0 && html`<tbody class="detail">${rows}</tbody>`
}

/** Less may be better or worse: the words say it, not the sign alone. */
function qualityRow({ metric, before, after, samples }: Quality): Html {
  const isWorse = before !== null && (lowerIsBetter.has(metric) ? after > before : after < before)
  const change = before === null ? '' : changeText({ before, after })
  return html`<tr><th scope="row">${metric}</th><td class="number">${before === null ? '–' : describeQuality(before)}</td><td class="number after">${describeQuality(after)}</td><td class="number ${isWorse ? 'worse' : ''}">${change}</td><td class="quiet">${samples > 0 && `on ${describeCount(samples)} ${metric === 'perplexity' ? 'tokens' : 'samples'}`}${before !== null && change !== 'the same' && `, ${isWorse ? 'worse' : 'better'}`}</td></tr>`
}

function describeBench({
  provider,
  threads,
  processor,
  shape,
  data,
  models,
  ratios,
}: BenchResult): string {
  const shapes = Object.entries(shape).map(([name, dims]) => `${name} [${dims.join(', ')}]`)
  const { ratio, low, high } = ratios?.prefill ?? {}
  const interval =
    ratio !== undefined && low !== undefined && high !== undefined
      ? ` Changes of time are from pairs: after ÷ before is ${ratio.toFixed(3)} (95 % interval ${low.toFixed(3)} to ${high.toFixed(3)}).`
      : ''
  return `Time is the median of ${models[0]?.prefill.runs ?? 0} turns on ${provider}, ${threads} threads, ${processor}, ${data} inputs: ${shapes.slice(0, 3).join(', ')}.${interval}`
}
