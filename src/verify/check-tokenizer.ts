/** Every id that the tokenizer knows has a row in the model's table of tokens. */
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { loadTokenizer } from '../data/tokenizer.js'
import { Inapplicable, Objection } from './report.js'
import type { Subject } from './subject.js'

export function checkTokenizer({ source: { folder }, view: { vocabulary } }: Subject): string {
  const path = join(folder, 'tokenizer.json')
  if (!existsSync(path)) throw new Inapplicable('there is no tokenizer.json')
  if (vocabulary === undefined) throw new Inapplicable('the model has no table of tokens')
  loadTokenizer(folder)
  const largest = largestId(JSON.parse(readFileSync(path, 'utf8')))
  if (largest >= vocabulary)
    throw new Objection(
      'model',
      `tokenizer.json has token ${largest}; the model's table has ${vocabulary} rows.`,
    )
  return `${largest + 1} tokens fit the ${vocabulary} rows of the model`
}

/** Vocabularies are objects (token → id) or lists (id by place); added tokens state their id. */
function largestId(tokenizer: {
  readonly model?: { readonly vocab?: Readonly<Record<string, number>> | readonly unknown[] }
  readonly added_tokens?: readonly { readonly id?: number }[]
}): number {
  const vocab = tokenizer.model?.vocab ?? {}
  let largest = Array.isArray(vocab) ? vocab.length - 1 : 0
  if (!Array.isArray(vocab))
    for (const id of Object.values(vocab as Readonly<Record<string, number>>))
      largest = Math.max(largest, id)
  for (const { id = 0 } of tokenizer.added_tokens ?? []) largest = Math.max(largest, id)
  return largest
}
