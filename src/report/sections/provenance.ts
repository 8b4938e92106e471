/** Where the model comes from: passes with what was chosen, versions, data, machine, and what was checked. */
import { describeBytes, describeCount } from '../../amounts.js'
import { type Content, type Html, html } from '../html.js'
import { absent, command, scrolling, section } from '../part.js'
import type { ReportData, TargetEntry } from '../report-data.js'
import { describeCondition } from './verdict.js'

export function renderProvenance({ provenance }: ReportData): Html {
  const { created, by, input, passes, machine, run, check, targets, conditions, skipped } =
    provenance
  const facts: readonly (readonly [string, Content])[] = [
    ['report', `${by}, ${created.slice(0, 16).replace('T', ' ')} UTC`],
    ...run.map(({ name, value }) => [name, value] as const),
    ['original, SHA-256', input === null ? 'not said' : html`<code>${input}</code>`],
    [
      'numeric check',
      check
        ? `outputs differ from the masked original's by ${check.largest.toExponential(1)} of the largest; ${check.bound} is allowed`
        : 'not known here; attnc prune proves it before it writes',
    ],
    ...machine.map(({ name, value }) => [name, value] as const),
  ]
  return section('provenance', 'How it was made', [
    html`<dl>${facts.map(([name, value]) => html`<dt>${name}</dt><dd>${value}</dd>`)}</dl>`,
    targets.length > 0 && targetTable(targets),
    conditions.length > 0 &&
      html`<h3>Conditions</h3><ul>${conditions.map(({ message, result, isMissed }) => html`<li>${describeCondition(result, isMissed)}: ${message}</li>`)}</ul>`,
    skipped.length > 0 &&
      html`<h3>Blocks that could lose nothing</h3><ul>${skipped.map(({ block, layer, reason }) => html`<li><code>${block}</code>, layer ${layer}: ${reason}</li>`)}</ul>`,
    passes.length > 0
      ? html`<h3>Passes, in their order</h3>${passes.map(({ name, options }) => html`<details><summary>${name}</summary><pre tabindex="0">${JSON.stringify(options, null, 2)}</pre></details>`)}`
      : html`<p class="quiet">Nothing was cut: the model was trained.</p>`,
    !check &&
      absent(
        'Checks, targets and conditions are of the run',
        html`${command('prune … --json > prune.json')}, then ${command('report … --from prune.json')}`,
      ),
  ])
}

function targetTable(targets: readonly TargetEntry[]): Html {
  return html`<h3>Targets</h3>${scrolling(
    'Targets',
    html`<table><thead><tr><th scope="col">target</th><th scope="col" class="number">before</th><th scope="col" class="number">asked</th><th scope="col" class="number">reached</th><th scope="col">result</th></tr></thead><tbody>${targets.map(
      (each) =>
        html`<tr><th scope="row">${each.target}</th>${[each.before, each.asked, each.reached].map((value) => html`<td class="number">${amountOf(each.kind, value)}</td>`)}<td>${each.isMet ? 'met' : 'missed'}</td></tr>`,
    )}</tbody></table>`,
  )}`
}

function amountOf(kind: string, value: number): string {
  if (kind === 'latency') return `${value.toPrecision(3)} ms`
  return kind === 'size' || kind === 'kv' ? describeBytes(value) : describeCount(value)
}
