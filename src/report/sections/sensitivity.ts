/** What it would cost to take more and more of each block, and where the plan stopped. */
import { scaleQuantize } from 'd3-scale'
import { describeNumber } from '../../amounts.js'
import { type Html, html } from '../html.js'
import { absent, command, scrolling, section } from '../part.js'
import type { ReportData, SensitivityMap } from '../report-data.js'
import { levelCount } from '../strip.js'
import { describePart } from './layers.js'

const cell = { width: 26, height: 16 }

export function renderSensitivity({ sensitivity }: ReportData): Html {
  return section(
    'sensitivity',
    'Sensitivity',
    sensitivity
      ? map(sensitivity)
      : absent(
          'No pass measured what each block would cost',
          html`${command('prune … --pass amp')} writes it into the plan`,
        ),
  )
}

function map({ measure, shares, rows }: SensitivityMap): Html {
  const losses = rows
    .flatMap((row) => row.losses)
    .filter((loss) => loss !== null && loss > 0) as number[]
  const levelOf = scale(losses)
  const parts = [...new Set(rows.map(({ part }) => part))]
  const layers = [...new Set(rows.map(({ layer }) => layer))]
  const width = shares.length * cell.width
  const cells = (layer: number | null, part: string): Html => {
    const row = rows.find((each) => each.layer === layer && each.part === part)
    if (!row) return html`<td></td>`
    const name = `layer ${layer ?? 'all'}, ${describePart(part)}`
    const at = row.reached * (shares.length + 1) - 0.5
    return html`<td><svg class="cells" width="${width}" height="${cell.height}" role="img" aria-label="${name}: ${percent(row.reached)} went">${row.losses.map(
      (loss, index) =>
        html`<rect class="${loss === null ? 'unknown' : `level-${levelOf(loss)}`}" x="${index * cell.width}" width="${cell.width - 1}" height="${cell.height - 1}" data-tip="${name}: ${percent(shares[index] as number)} would cost ${loss === null ? 'more than was measured' : describeNumber(loss)}"/>`,
    )}${row.reached > 0 && html`<path class="reached" d="M${Math.min(width - 2, Math.max(2, Math.round(at * cell.width)))} -1V${cell.height}"/>`}</svg>${row.perMillisecond !== null && html` <span class="number">${describeNumber(row.perMillisecond)} a ms</span>`}</td>`
  }
  const table = html`<table class="layers"><thead><tr><th scope="col" class="number">layer</th>${parts.map((part) => html`<th scope="col">${describePart(part)}: 10 % to 90 % gone</th>`)}</tr></thead>
<tbody>${layers.map((layer) => html`<tr><th scope="row" class="number">${layer ?? 'all'}</th>${parts.map((part) => cells(layer, part))}</tr>`)}</tbody></table>`
  return html`<p>Each row is a block, each cell a share of it that could go; the line marks the share that went. What is counted: ${measure}.${rows.some(({ perMillisecond }) => perMillisecond !== null) && ' Behind it stands what was lost for each millisecond of its operators that went, or would be for the first tenth.'}</p>
<ul class="legend"><li>${Array.from({ length: levelCount }, (_, level) => html`<svg class="cells" width="14" height="14" aria-hidden="true"><rect class="level-${level}" width="13" height="13"/></svg>`)} ${losses.length > 0 && `${describeNumber(Math.min(...losses))} to ${describeNumber(Math.max(...losses))}, by its logarithm`}</li><li><svg class="cells" width="14" height="14" aria-hidden="true"><rect class="unknown" width="13" height="13"/></svg>not measured</li><li><svg class="cells" width="8" height="14" aria-hidden="true"><path class="reached" d="M4 0V14"/></svg>went</li></ul>
${scrolling('Sensitivity', table)}`
}

function scale(losses: readonly number[]): (loss: number) => number {
  if (losses.length === 0) return () => 0
  const [low, high] = [Math.min(...losses), Math.max(...losses)].map(Math.log) as [number, number]
  const levels = scaleQuantize(
    [low, Math.max(high, low + 1e-9)],
    Array.from({ length: levelCount }, (_, level) => level),
  )
  return (loss) => (loss > 0 ? levels(Math.log(loss)) : 0)
}

const percent = (share: number): string => `${Math.round(100 * share)} %`
