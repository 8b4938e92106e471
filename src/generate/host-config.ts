/** What the folder's configs say about generating: where a text ends, how it starts, how long it may be. */

import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { AttncError } from '../errors.js'
import { parsePythonJson } from '../model-folder/python-json.js'

export interface HostConfig {
  /** Tokens after which nothing follows. */
  readonly stop: ReadonlySet<number>
  /** What texts begin with. */
  readonly start: number | undefined
  /** First token of a decoder that has an encoder. */
  readonly decoderStart: number | undefined
  /** Tokens that the model can tell apart by position. */
  readonly positions: number | undefined
}

type Json = { readonly [key: string]: unknown }

/** Earlier files win. Error: CONFIG_FORMAT. */
const files = ['generation_config.json', 'config.json', 'genai_config.json'] as const
/** Models of text and more keep these one level deeper. */
const nested = ['text_config', 'model', 'decoder'] as const

export function readHostConfig(folder: string): HostConfig {
  const configs = files.flatMap((file) => levelsOf(readConfig(join(folder, file))))
  const first = (...keys: readonly string[]): unknown =>
    keys.flatMap((key) => configs.map((config) => config[key])).find((value) => value != null)
  const number = (...keys: readonly string[]): number | undefined => {
    const value = first(...keys)
    return typeof value === 'number' ? value : undefined
  }
  const stop = [first('eos_token_id')].flat().filter((id) => typeof id === 'number')
  return {
    stop: new Set(stop),
    start: number('bos_token_id'),
    decoderStart: number('decoder_start_token_id', 'pad_token_id', 'bos_token_id'),
    positions: number('max_position_embeddings', 'n_positions', 'context_length'),
  }
}

function levelsOf(config: Json | undefined): Json[] {
  if (!config) return []
  const inner = nested.map((key) => config[key]).filter((each) => isObject(each))
  return [config, ...inner]
}

const isObject = (value: unknown): value is Json =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

function readConfig(path: string): Json | undefined {
  if (!existsSync(path)) return undefined
  try {
    const value = parsePythonJson(readFileSync(path, 'utf8'))
    if (isObject(value)) return value
    throw new TypeError('it holds no object')
  } catch (cause) {
    throw new AttncError(
      'CONFIG_FORMAT',
      'usage',
      `"${path}" can't be read: ${(cause as Error).message}.`,
      { cause, suggestions: ['Repair the file, or remove it.'] },
    )
  }
}
