/** How training went: the loss it learned from and the loss on data held apart, update by update. */
import { describeCount } from '../../amounts.js'
import { drawChart, legend, type Series } from '../chart.js'
import { type Html, html } from '../html.js'
import { absent, command, scrolling, section } from '../part.js'
import type { NamedTraining, ReportData } from '../report-data.js'

export function renderLearning({ training }: ReportData): Html {
  const drawn = training.filter(({ curve }) => curve.length > 0)
  return section(
    'learning',
    'Learning',
    drawn.length > 0
      ? drawn.map(picture)
      : absent(
          'Nothing was trained',
          html`${command('prune … --recover lora')}, ${command('prune … --pass vtrans')} or ${command('train')}`,
        ),
  )
}

const titles: Readonly<Record<string, string>> = {
  recover: 'Recovery, with the original as the teacher',
  vtrans: 'Masks and weights by gradients',
  train: 'Training',
}

function picture(training: NamedTraining): Html {
  const { name, curve, updates, before, best, trained, made } = training
  const heldOut = curve.flatMap(({ update, heldOut: loss }) =>
    loss === undefined ? [] : [[update, loss] as const],
  )
  // Where masks were learned first, what they left is a point of the curve.
  const isWhole = curve.every(({ sparsity: share }) => share === undefined)
  const start = before !== undefined && isWhole && heldOut.length > 0 ? [[0, before] as const] : []
  const series: Series[] = [
    { name: 'loss', points: curve.map(({ update, training: loss }) => [update, loss] as const) },
    ...(heldOut.length > 0 ? [{ name: 'held-out loss', points: [...start, ...heldOut] }] : []),
  ]
  const sparsity = curve.flatMap(({ update, sparsity: share }) =>
    share === undefined ? [] : [[update, 100 * share] as const],
  )
  const x = { title: 'updates', describe: describeCount }
  return html`<figure><figcaption><h3>${titles[name] ?? name}</h3>
<p>${describeCount(updates)} updates${trained !== undefined && ` of ${describeCount(trained)} numbers`}${before !== undefined && best !== undefined && `; held-out loss ${before.toFixed(4)} before, ${best.toFixed(4)} at its best`}${made !== undefined && made > 0 && `; ${describeCount(made)} windows of text were made up by the original`}.</p>
${legend(series.map((each) => each.name))}</figcaption>
${scrolling(
  'Loss, drawn',
  drawChart({
    label: `loss over ${updates} updates`,
    x,
    y: { title: 'loss', describe: (value) => String(Number(value.toPrecision(4))) },
    series,
  }),
)}
${
  sparsity.length > 1 &&
  scrolling(
    'Share masked away, drawn',
    drawChart({
      label: `share masked away over ${updates} updates`,
      x,
      y: { title: 'masked away', describe: (value) => `${value} %` },
      series: [{ name: 'masked away', points: sparsity }],
    }),
  )
}</figure>`
}
