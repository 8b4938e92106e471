/** What sections of the page share: their frame, and the line that stands where something is missing. */
import { type Content, type Html, html } from './html.js'

export const section = (id: string, title: string, body: Content): Html =>
  html`<section id="${id}" aria-labelledby="${id}-title"><h2 id="${id}-title">${title}</h2>
${body}
</section>`

/** How to get what isn't there. */
export const absent = (what: string, how: Content): Html =>
  html`<p class="absent">${what}. Get it: ${how}</p>`

export const command = (text: string): Html => html`<code>attnc ${text}</code>`

/** A table or picture that scrolls by itself where the page is narrow, by keyboard too. */
export const scrolling = (label: string, body: Content): Html =>
  html`<div class="scroll" role="region" aria-label="${label}: table or picture" tabindex="0">${body}</div>`

export const number = (content: Content): Html => html`<td class="number">${content}</td>`
