/**
 * HTML from templates in which every string is text: models and data are not trusted, so what is not
 * `Html` is escaped, in elements and in quoted attributes alike. There is no way in for raw text but
 * `trusted`, which serves attnc's own style and script.
 */

export class Html {
  constructor(readonly text: string) {}

  toString(): string {
    return this.text
  }
}

/** null and false leave nothing. */
export type Content = Html | string | number | null | false | undefined | readonly Content[]

/** Attributes have to be in double quotes. */
export function html(strings: TemplateStringsArray, ...values: readonly Content[]): Html {
  const parts = strings.map(
    (string, index) => string + (index < values.length ? render(values[index]) : ''),
  )
  return new Html(parts.join(''))
}

export const trusted = (text: string): Html => new Html(text)

function render(content: Content): string {
  if (content === null || content === undefined || content === false) return ''
  if (content instanceof Html) return content.text
  if (typeof content === 'object') return content.map(render).join('')
  return escapeText(String(content))
}

const entities: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
  '`': '&#96;',
}

/**
 * Controls that HTML forbids, halves of surrogate pairs, and marks that turn the direction of the text
 * around them are shown as a replacement character.
 */
const unprintable = /(?![\t\n\r])\p{Cc}|\p{Cs}|[\u202a-\u202e\u2066-\u2069\ufeff]/gu

const escapeText = (text: string): string =>
  text.replace(unprintable, '\ufffd').replace(/[&<>"'`]/g, (each) => entities[each] as string)
