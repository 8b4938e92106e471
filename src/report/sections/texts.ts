/** The same prompts continued by both models, the most likely token each time, until they part. */
import { type Html, html } from '../html.js'
import { absent, command, section } from '../part.js'
import type { ReportData, TextPair } from '../report-data.js'

export function renderTexts({ texts, names }: ReportData): Html {
  return section(
    'texts',
    'Texts, side by side',
    texts.length === 0
      ? absent('No text was generated', command('report … --prompt "Once upon a time"'))
      : [
          html`<p>The same prompt, the most likely token each time. What is underlined differs.</p>`,
          texts.map((pair) => picture(pair, names)),
        ],
  )
}

function picture({ prompt, before, after }: TextPair, names: ReportData['names']): Html {
  const same = sharedLength(before, after)
  const column = (name: string, text: string): Html =>
    html`<div class="text"><h4>${name}</h4><p><b>${prompt}</b>${text.slice(0, same)}${text.length > same && [/\s/.test(text[same] ?? '') && ' ', html`<u>${text.slice(same).trimStart()}</u>`]}</p></div>`
  return html`<article class="pair"><h3 class="hidden">${prompt}</h3>${column(names.before, before)}${column(names.after, after)}</article>`
}

/** Up to a space, so that words stay whole. */
function sharedLength(one: string, other: string): number {
  let at = 0
  while (at < one.length && one[at] === other[at]) at++
  if (at === one.length && at === other.length) return at
  return Math.max(0, one.lastIndexOf(' ', at))
}
