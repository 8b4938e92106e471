/** Text → token ids by the folder's `tokenizer.json`. */
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { Tokenizer as Reader } from '@huggingface/tokenizers'
import { AttncError } from '../errors.js'

export interface Tokenizer {
  /** Ids of a text; special tokens only where asked for. */
  encode(text: string, special?: boolean): number[]
  decode(ids: readonly number[]): string
}

/** Reads `tokenizer.json` (and `tokenizer_config.json`) of a model folder. Error: NO_TOKENIZER. */
export function loadTokenizer(folder: string): Tokenizer {
  const path = join(folder, 'tokenizer.json')
  if (!existsSync(path))
    throw new AttncError(
      'NO_TOKENIZER',
      'usage',
      `"${folder}" has no tokenizer.json, and text can't be read without one.`,
      {
        suggestions: ['Put the tokenizer beside the model, or give arrays (.npz) instead of text.'],
      },
    )
  const config = join(folder, 'tokenizer_config.json')
  try {
    const reader = new Reader(readJson(path), existsSync(config) ? readJson(config) : {})
    return {
      encode: (text, special = false) => [
        ...reader.encode(text, { add_special_tokens: special }).ids,
      ],
      decode: (ids) => reader.decode([...ids], { skip_special_tokens: true }),
    }
  } catch (cause) {
    throw new AttncError(
      'TOKENIZER_UNREADABLE',
      'usage',
      `"${path}" can't be read as a tokenizer.`,
      { cause, suggestions: ['Copy or download the file again.'] },
    )
  }
}

/** Error: TOKENIZER_MISMATCH where an id is larger than the model's table of embeddings. */
export function checkVocabulary(
  rows: readonly (readonly number[])[],
  vocabulary: number | undefined,
): void {
  const largest = rows.reduce((top, row) => row.reduce((a, b) => Math.max(a, b), top), 0)
  if (vocabulary === undefined || largest < vocabulary) return
  throw new AttncError(
    'TOKENIZER_MISMATCH',
    'usage',
    `The tokenizer yields id ${largest}, the model's vocabulary has ${vocabulary} entries.`,
    { suggestions: ['Put the tokenizer that belongs to the model into its folder.'] },
  )
}

const readJson = (path: string): object => JSON.parse(readFileSync(path, 'utf8')) as object
