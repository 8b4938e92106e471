/** What the configs of a folder say of a model's sizes, beside what its graph has. */

import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { AttncError } from '../errors.js'
import { parsePythonJson } from '../model-folder/python-json.js'
import { type ModelSizes, type StatedSize, statedSizes } from './config-edit.js'

/** Metadata of a cut model: keys of its configs that counted otherwise before. */
export const OTHERWISE = 'attnc.otherwise'

export const configFiles = ['config.json', 'genai_config.json'] as const

/** The configs that a folder has. Error: CONFIG_UNREADABLE. */
export const readConfigs = (
  folder: string,
): { readonly file: string; readonly config: unknown }[] =>
  configFiles
    .filter((file) => existsSync(join(folder, file)))
    .map((file) => ({ file, config: readJson(join(folder, file)) }))

/** Error: CONFIG_UNREADABLE. */
export function readStatedSizes(
  folder: string,
  sizes: ModelSizes,
): (StatedSize & { readonly file: string })[] {
  return readConfigs(folder).flatMap(({ file, config }) =>
    levelsOf(config).flatMap((level) =>
      statedSizes(level, sizes).map((each) => ({ ...each, file })),
    ),
  )
}

/** Keys that mean something else in this family: they didn't say what the graph has before it was cut. */
export const otherwiseCounted = (folder: string, sizes: ModelSizes): string[] => [
  ...new Set(
    readStatedSizes(folder, sizes).flatMap(({ key, value, found }) =>
      value === found ? [] : [key],
    ),
  ),
]

type Json = { readonly [key: string]: unknown }

/** The config, and the parts of it that speak of the text model. */
function levelsOf(config: unknown): Json[] {
  if (typeof config !== 'object' || config === null) return []
  const object = config as Json
  return [object, ...['text_config', 'model', 'decoder'].flatMap((key) => levelsOf(object[key]))]
}

function readJson(path: string): unknown {
  try {
    return parsePythonJson(readFileSync(path, 'utf8'))
  } catch (cause) {
    throw new AttncError(
      'CONFIG_UNREADABLE',
      'model',
      `"${path}" is no JSON: ${(cause as Error).message}.`,
      { suggestions: ['Correct the file, or take it out of the folder.'], cause },
    )
  }
}
