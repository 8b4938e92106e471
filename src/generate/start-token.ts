/** The token that texts begin with, by a folder's configs, or else by what its tokenizer knows of the usual ones. */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { loadTokenizer } from '../data/tokenizer.js'
import { readHostConfig } from './host-config.js'

/** Some models have one token for the end of a text and the beginning of the next. */
const usual = ['<|begin_of_text|>', '<|startoftext|>', '<bos>', '[BOS]', '<s>', '<|endoftext|>']
const unknown = '<|no token of anybody|>'

/** Undefined where nothing says. Errors: CONFIG_FORMAT, TOKENIZER_UNREADABLE. */
export function findStart(folder: string): number | undefined {
  const { start } = readHostConfig(folder)
  if (start !== undefined || !existsSync(join(folder, 'tokenizer.json'))) return start
  const tokenizer = loadTokenizer(folder)
  const [other] = tokenizer.encode(unknown)
  for (const marker of usual) {
    const [id, ...rest] = tokenizer.encode(marker)
    // A special token stands for no text; so does what a tokenizer says of a marker that it does not know.
    if (id !== undefined && rest.length === 0 && id !== other && tokenizer.decode([id]) === '')
      return id
  }
  return undefined
}
