/** Quality against size, ratio by ratio: the sweep's points, its knee, and where this model stands. */
import { describeBytes, describeCount, describeQuality } from '../../amounts.js'
import { drawChart, type Mark } from '../chart.js'
import { type Html, html } from '../html.js'
import { absent, command, scrolling, section } from '../part.js'
import type { ReportData } from '../report-data.js'

export function renderFrontier(data: ReportData): Html {
  return section(
    'frontier',
    'Frontier',
    data.frontier
      ? picture(data, data.frontier)
      : absent(
          'No sweep was given',
          html`${command('sweep MODEL … -o frontier/')}, then ${command('report … --from frontier/')}`,
        ),
  )
}

function picture(
  { savings, quality }: ReportData,
  sweep: NonNullable<ReportData['frontier']>,
): Html {
  const { points, knee } = sweep
  const metric = points[0]?.metric ?? 'perplexity'
  const here = quality.find((each) => each.metric === metric)
  const marks: Mark[] = points
    .filter(({ ratio }) => ratio === knee)
    .map(({ parameters, value }) => ({ at: [parameters, value], text: 'knee', kind: 'knee' }))
  if (here)
    marks.push({ at: [savings.parameters.after, here.after], text: 'this model', kind: 'here' })
  const chart = drawChart({
    label: `${metric} against parameters, ${points.length} points`,
    x: { title: 'parameters', describe: describeCount },
    y: { title: metric, describe: describeQuality, isLog: metric === 'perplexity' },
    series: [
      {
        name: metric,
        points: points.map(({ parameters, value }) => [parameters, value] as const),
        hasDots: true,
      },
    ],
    marks,
  })
  const rows = points.map(
    (point) =>
      html`<tr><th scope="row" class="number">${point.ratio === 0 ? 'original' : `${Math.round(1000 * point.ratio) / 10} %`}</th><td class="number">${describeCount(point.parameters)}</td><td class="number">${describeBytes(point.bytes)}</td><td class="number">${describeCount(point.flopsPerToken)}</td><td class="number">${describeQuality(point.value)}</td><td>${point.ratio === knee && 'knee'}</td></tr>`,
  )
  return html`<p>What quality each size costs; after the knee it falls faster.</p>
<figure>${scrolling('Frontier, drawn', chart)}</figure>
${scrolling('Frontier, in numbers', html`<table><thead><tr><th scope="col" class="number">went</th><th scope="col" class="number">parameters</th><th scope="col" class="number">weights</th><th scope="col" class="number">FLOPs, a token</th><th scope="col" class="number">${metric}</th><th scope="col"><span class="hidden">knee</span></th></tr></thead><tbody>${rows}</tbody></table>`)}`
}
