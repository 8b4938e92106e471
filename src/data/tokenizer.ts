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
  const settings = existsSync(config) ? readJson(config) : {}
  const content = readJson(path)
  try {
    const reader = new Reader(content, settings)
    return {
      encode: (text, special = false) => [
        ...reader.encode(text, { add_special_tokens: special }).ids,
      ],
      decode: (ids) => reader.decode([...ids], { skip_special_tokens: true }),
    }
  } catch (cause) {
    throw unreadable(path, cause)
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

function readJson(path: string): object {
  try {
    return JSON.parse(readFileSync(path, 'utf8')) as object
  } catch (cause) {
    throw unreadable(path, cause)
  }
}

function unreadable(path: string, cause: unknown): AttncError {
  const { code, message } = cause as NodeJS.ErrnoException
  const isDenied = code === 'EACCES' || code === 'EPERM'
  return new AttncError(
    'TOKENIZER_UNREADABLE',
    'usage',
    `"${path}" can't be read as a tokenizer: ${isDenied ? `this user may not (${code})` : message}.`,
    {
      cause,
      suggestions: [
        isDenied
          ? `Give read permission: chmod u+r "${path}".`
          : 'Copy or download the file again.',
      ],
    },
  )
}
