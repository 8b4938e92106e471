/** The graph before and after, layer by layer: blocks, weights, operators, inputs; with a box to search it. */
import { describeCount } from '../../amounts.js'
import type { BlockPair, StructuralDifference } from '../../compare/structure.js'
import { type Html, html } from '../html.js'
import { scrolling, section } from '../part.js'
import type { ReportData } from '../report-data.js'

interface Row {
  /** null: of the whole model. */
  readonly layer: number | null
  readonly kind: string
  readonly name: string
  readonly before: string
  readonly after: string
}

/** What a person would scroll through; the rest is counted. */
const mostRows = 4000

/** Longer texts are cut: a plan in the metadata is as long as the model is large. */
const longest = 160

export function renderDifferences({ difference }: ReportData): Html {
  const rows = rowsOf(difference)
  const shown = rows.slice(0, mostRows)
  const groups = new Map<number | null, Row[]>()
  for (const row of shown) groups.set(row.layer, [...(groups.get(row.layer) ?? []), row])
  const ordered = [...groups].sort(([one], [other]) => (one ?? -1) - (other ?? -1))
  const table = html`<table class="differences"><colgroup><col class="what"><col class="name"><col class="side"><col></colgroup><thead><tr><th scope="col">what</th><th scope="col">name</th><th scope="col">before</th><th scope="col">after</th></tr></thead>
${ordered.map(([layer, own]) => html`<tbody><tr><th scope="rowgroup" colspan="4" class="group">${layer === null ? 'the whole model' : `layer ${layer}`}</th></tr>${own.map(renderRow)}</tbody>`)}</table>`
  return section('differences', 'The graph, before and after', [
    html`<p>${describeCount(rows.length)} things changed; ${describeCount(difference.constants.same)} constants, weights among them, are the same to the bit.${rows.length > shown.length && ` The first ${describeCount(mostRows)} are here; attnc compare --json has all.`}</p>
<p class="search" hidden><label for="search">Search</label> <input id="search" type="search" autocomplete="off" spellcheck="false" aria-describedby="found" placeholder="layer 3, MatMul, bias …"> <kbd>/</kbd> <output id="found" for="search">${rows.length === shown.length ? '' : `${shown.length} shown`}</output></p>`,
    scrolling('Changes', table),
  ])
}

const renderRow = ({ kind, name, before, after }: Row): Html =>
  html`<tr><td>${kind}</td><th scope="row"><code>${cut(name)}</code></th><td>${cut(before)}</td><td>${cut(after)}</td></tr>`

const cut = (text: string): string => (text.length > longest ? `${text.slice(0, longest)} …` : text)

function rowsOf(difference: StructuralDifference): Row[] {
  const named = (
    kind: string,
    list: StructuralDifference['inputs'] | StructuralDifference['operators'],
  ): Row[] =>
    list.map(({ name, before, after }) => ({ layer: null, kind, name, ...sides(before, after) }))
  return [
    ...named('operator, how many', difference.operators),
    ...named('input', difference.inputs),
    ...named('output', difference.outputs),
    ...named('opset', difference.opsets),
    ...named('metadata', difference.metadata),
    ...difference.blocks.flatMap(blockRow),
    ...difference.constants.changed.map(({ layer, change, name, before, after }) => ({
      layer,
      kind: `constant, ${changes[change]}`,
      name,
      ...sides(before, after),
    })),
  ]
}

const changes = {
  added: 'new',
  removed: 'gone',
  type: 'new type',
  shape: 'new shape',
  numbers: 'new numbers',
} as const

const sides = (before: string | number | null, after: string | number | null) => ({
  before: before === null ? '–' : String(before),
  after: after === null ? '–' : String(after),
})

function blockRow({ layer, block, before, after }: BlockPair): Row[] {
  const texts = sides(describeSizes(before), describeSizes(after))
  if (texts.before === texts.after) return []
  const name = block === 'feedForward' ? 'feed-forward' : `${block} attention`
  return [{ layer, kind: 'block', name, ...texts }]
}

function describeSizes(sizes: BlockPair['before']): string | null {
  if (!sizes) return null
  const { heads, keyValueHeads, headSize, valueHeadSize, width } = sizes
  if (width !== undefined) return `width ${width.toLocaleString('en')}`
  const size = headSize === valueHeadSize ? `${headSize}` : `${headSize}/${valueHeadSize}`
  return heads === keyValueHeads
    ? `${heads} heads of ${size}`
    : `${heads} heads on ${keyValueHeads} keys and values, of ${size}`
}
