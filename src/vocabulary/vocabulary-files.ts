/** Files of a folder that number tokens, with the numbers after a cut. */

import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { AttncError } from '../errors.js'
import type { ModelFolder } from '../model-folder/model-folder.js'
import { parsePythonJson, writePythonJson } from '../model-folder/python-json.js'
import type { Json } from '../model-folder/save.js'
import type { VocabularyCut } from '../plan/plan.js'
import { newNumbers } from './batches.js'
import { namedTokens, renumberConfig, type TokenNumbers } from './token-ids.js'
import { closeOverTokens, cutTokenizer, parseTokenizer } from './tokenizer-json.js'

const TOKENIZER = 'tokenizer.json'

/** Older forms of a tokenizer, which tokenizer.json makes needless and which would tell the old numbers. */
const older =
  /^(vocab\.(txt|json)|merges\.txt|added_tokens\.json|spiece\.model|.*sentencepiece.*\.model|.*\.bpe\.model|.*\.tiktoken|tokenizer\.model)$/i

/** Whether a file says the old numbers, so that it is left out. */
export const isOlderForm = (name: string): boolean => older.test(name)

/**
 * The tokens asked for, and those that the tokenizer and the configs can't do without. Errors:
 * NO_TOKENIZER, TOKENIZER_KIND.
 */
export function tokensThatStay(
  location: ModelFolder,
  wanted: Iterable<number>,
  size: number,
): number[] {
  const tokenizer = readTokenizer(location)
  const named = location.sidecars
    .filter((name) => /config.*\.json$/i.test(name))
    .flatMap((name) => namedTokens(readJson(join(location.folder, name))))
  const keep = closeOverTokens(tokenizer, [...wanted, ...named])
  return [...keep].filter((id) => id < size).sort((a, b) => a - b)
}

/** tokenizer.json with the new numbers. */
export function cutTokenizerFile(
  location: ModelFolder,
  cut: VocabularyCut,
): Readonly<Record<string, string>> {
  const json = cutTokenizer(readTokenizer(location), newNumbers(cut))
  return { [TOKENIZER]: `${writePythonJson(json, 2)}\n` }
}

export const renumberedConfig = (config: Json, cut: VocabularyCut): Json => {
  const numbers: TokenNumbers = newNumbers(cut)
  return renumberConfig(config, numbers)
}

function readTokenizer({ folder }: ModelFolder) {
  const path = join(folder, TOKENIZER)
  if (!existsSync(path))
    throw new AttncError(
      'NO_TOKENIZER',
      'usage',
      `"${folder}" has no tokenizer.json: nothing would know the new numbers of the tokens.`,
      { suggestions: ['Put the tokenizer beside the model.'] },
    )
  return parseTokenizer(readFileSync(path, 'utf8'), path)
}

function readJson(path: string): Json {
  try {
    return parsePythonJson(readFileSync(path, 'utf8')) as Json
  } catch {
    // Carried along as it is.
    return null
  }
}
