/**
 * A report as one page that needs nothing else: style and script are inside, pictures are drawn already,
 * and a policy forbids everything but that one style and that one script. Without scripts all is there
 * but searching, tips and the switch of colours.
 */
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { html, trusted } from './html.js'
import type { ReportData } from './report-data.js'
import { renderDifferences } from './sections/differences.js'
import { renderFrontier } from './sections/frontier.js'
import { renderLayers } from './sections/layers.js'
import { renderLearning } from './sections/learning.js'
import { renderProvenance } from './sections/provenance.js'
import { renderSavings } from './sections/savings.js'
import { renderSensitivity } from './sections/sensitivity.js'
import { renderTexts } from './sections/texts.js'
import { judgeReport, renderVerdict } from './sections/verdict.js'

const sections = [
  ['savings', 'Before and after', renderSavings],
  ['layers', 'Layers', renderLayers],
  ['sensitivity', 'Sensitivity', renderSensitivity],
  ['frontier', 'Frontier', renderFrontier],
  ['learning', 'Learning', renderLearning],
  ['texts', 'Texts', renderTexts],
  ['differences', 'Graph', renderDifferences],
  ['provenance', 'How it was made', renderProvenance],
] as const

/** The page. The same data give the same bytes. */
export function renderReport(data: ReportData): string {
  const [style, script] = [asset('report.css'), asset('report.js')]
  const policy = `default-src 'none'; style-src '${digestOf(style)}'; script-src '${digestOf(script)}'; base-uri 'none'; form-action 'none'`
  return html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="${policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
<meta name="color-scheme" content="light dark">
<meta name="generator" content="${data.provenance.by}">
<meta name="description" content="${judgeReport(data).sentence}">
<title>${data.names.before} → ${data.names.after}: attnc report</title>
<style>${trusted(style)}</style>
</head>
<body>
<a class="skip" href="#savings">To the results</a>
<div class="page">
<header class="top"><span class="brand">attnc report</span>
<nav aria-label="Sections"><ul>${sections.map(([id, title]) => html`<li><a href="#${id}">${title}</a></li>`)}</ul></nav>
<button type="button" id="theme" hidden aria-label="Light or dark">◐</button></header>
<main>
${renderVerdict(data)}
${sections.map(([, , render]) => render(data))}
</main>
</div>
<div id="tip" role="tooltip" hidden></div>
<script>${trusted(script)}</script>
</body>
</html>
`.text
}

/** Read beside this file; the build carries them along. */
const asset = (name: string): string =>
  readFileSync(new URL(`page/${name}`, import.meta.url), 'utf8').trim()

const digestOf = (text: string): string =>
  `sha256-${createHash('sha256').update(text).digest('base64')}`
