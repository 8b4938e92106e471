/** A map of the model: what each layer kept of its heads and widths, what its cache takes, who attends to whom. */
import { describeBytes, describeCount } from '../../amounts.js'
import { type Content, type Html, html } from '../html.js'
import { scrolling, section } from '../part.js'
import type { Change, LayerEntry, ReportData, Strip } from '../report-data.js'
import { costScale, drawStrip, levelCount } from '../strip.js'

export function renderLayers({ layers }: ReportData): Html {
  const levelOf = costScale(layers)
  const hasCache = layers.some(({ cacheBytesPerToken }) => cacheBytesPerToken)
  const hasPatterns = layers.some(({ attends }) => attends.length > 0)
  const rows = layers.map(
    (entry) => html`<tr><th scope="row" class="number">${entry.layer ?? 'all'}</th>
<td>${strips(entry, false, levelOf)}</td><td>${strips(entry, true, levelOf)}</td>
${hasPatterns && html`<td>${patterns(entry)}</td>`}${hasCache && html`<td class="number">${cache(entry)}</td>`}<td class="number">${parameters(entry.parameters)}</td></tr>`,
  )
  const table = html`<table class="layers">
<thead><tr><th scope="col" class="number">layer</th><th scope="col">attention</th><th scope="col">feed-forward and others</th>${hasPatterns && html`<th scope="col">heads attend to</th>`}${hasCache && html`<th scope="col" class="number">cache, a token</th>`}<th scope="col" class="number">parameters</th></tr></thead>
<tbody>${rows}</tbody></table>`
  return section(
    'layers',
    'Layer by layer',
    layers.length === 0
      ? html`<p class="quiet">The model has no heads or widths that attnc knows.</p>`
      : [key(layers), scrolling('Layer by layer', table)],
  )
}

const isWidth = ({ part }: Strip): boolean => !/heads|groups|headsize/i.test(part)

const nouns: Readonly<Record<string, string>> = {
  keyValueHeads: 'heads',
  queryGroups: 'query groups',
  headSize: 'head size',
  valueHeadSize: 'value size',
  width: 'neurons',
  hidden: 'stream',
}

/** `cross.keyValueHeads` → `cross heads`, or `cross key-value heads` where several queries share one. */
export const describePart = (part: string, queriesPerMember = 1): string =>
  part
    .split('.')
    .map((word) => nouns[word] ?? word)
    .join(' ')
    .replace('heads', queriesPerMember > 1 ? 'key-value heads' : 'heads')

function strips(
  entry: LayerEntry,
  ofWidths: boolean,
  levelOf: (cost: number | null) => number,
): Content {
  return entry.strips
    .filter((strip) => isWidth(strip) === ofWidths)
    .map((strip) => {
      const kept = strip.size - strip.removed.length
      const text =
        strip.removed.length === 0
          ? `all ${strip.size.toLocaleString('en')}`
          : `${kept.toLocaleString('en')} of ${strip.size.toLocaleString('en')}`
      return html`<div class="strip"><span>${text} <span class="quiet">${describePart(strip.part, strip.queriesPerMember)}</span></span>${drawStrip(strip, describePart(strip.part, strip.queriesPerMember), levelOf)}</div>`
    })
}

function patterns({ attends }: LayerEntry): Content {
  if (attends.length === 0) return html`<span class="quiet">as before</span>`
  return attends.map((list) => {
    const counts = new Map<string, number>()
    for (const pattern of list) counts.set(pattern, (counts.get(pattern) ?? 0) + 1)
    return html`<div>${[...counts].map(([pattern, count]) => html`<code>${list.length > 1 ? `${count} × ` : ''}${pattern}</code> `)}</div>`
  })
}

const cache = ({ cacheBytesPerToken: pair }: LayerEntry): Content =>
  pair ? arrow(pair, describeBytes) : html`<span class="quiet">–</span>`

const parameters = (pair: Change<number>): Content => arrow(pair, describeCount)

const arrow = ({ before, after }: Change<number>, describe: (value: number) => string): Content =>
  before === after
    ? html`<span class="quiet">${describe(before)}</span>`
    : html`<span class="quiet">${describe(before)} →</span> ${describe(after)}`

function key(layers: readonly LayerEntry[]): Html {
  const hasCosts = layers.some(({ strips: own }) => own.some(({ costs }) => costs))
  const swatch = (name: string): Html =>
    html`<svg class="cells" width="11" height="14" aria-hidden="true"><rect class="${name}" x="0.5" y="0.5" width="9" height="13" rx="1.5"/></svg>`
  return html`<ul class="legend">
<li>${swatch('kept')}kept</li><li>${swatch('gone')}gone</li>
${hasCosts && html`<li>${Array.from({ length: levelCount }, (_, level) => swatch(`level-${level}`))}cheap to dear to lose</li>`}
</ul>`
}
