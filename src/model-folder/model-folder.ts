/**
 * A model folder as it lies on the disk: which model files it has, which one is meant, and what belongs
 * to it (configs, tokenizer). Layouts: everything beside each other, or models in `onnx/` under it.
 * Reading only; load.ts and save.ts use it.
 */
import { readdirSync, statSync } from 'node:fs'
import { basename, dirname, join, resolve } from 'node:path'
import { AttncError } from '../errors.js'
import { unreadable } from '../onnx/file-bytes.js'

export interface ModelFolder {
  /** Absolute path of the folder that is carried along. */
  readonly folder: string
  /** The chosen model, relative to `folder`. */
  readonly file: string
  /** All .onnx files, the chosen one included, relative to `folder`. */
  readonly models: readonly string[]
  /** Configs, tokenizer and the like, relative to `folder`. */
  readonly sidecars: readonly string[]
  /** Why this file was chosen, where there was a choice. */
  readonly choice: string | undefined
}

/** Finds the model in a folder, or the folder of an .onnx file. */
export function openModelFolder(path: string): ModelFolder {
  if (path === '')
    throw new AttncError('MODEL_NOT_FOUND', 'model', 'The path of the model is empty.', {
      suggestions: ['Name a folder or a file; a variable that stands for it may not be set.'],
    })
  const absolute = resolve(path)
  const isFolder = lookAt(absolute).isDirectory()
  if (!isFolder) {
    const above = dirname(absolute)
    const folder = basename(above) === 'onnx' && hasConfig(dirname(above)) ? dirname(above) : above
    const file = folder === above ? basename(absolute) : join('onnx', basename(absolute))
    const models = [...new Set([file, ...modelsOf(folder)])]
    return { folder, file, models, sidecars: sidecarsOf(folder), choice: undefined }
  }
  const models = modelsOf(absolute)
  const { file, choice } = choose(models, absolute)
  return { folder: absolute, file, models, sidecars: sidecarsOf(absolute), choice }
}

/** What hosts call the model that the others of its folder belong to: decoders have an encoder beside them. */
const mainNames = ['model.onnx', 'decoder_model.onnx', 'decoder_model_merged.onnx'] as const

function choose(
  models: readonly string[],
  folder: string,
): { readonly file: string; readonly choice: string | undefined } {
  const [only, second] = models
  if (only === undefined)
    throw new AttncError(
      'NO_MODEL_IN_FOLDER',
      'model',
      `There is no .onnx file in "${folder}"${listFiles(folder)}.`,
      { suggestions: ['Pass the folder that holds model.onnx, or the .onnx file itself.'] },
    )
  if (second === undefined) return { file: only, choice: undefined }
  const preferred = mainNames.flatMap(
    (name) => models.find((each) => basename(each) === name) ?? [],
  )[0]
  if (preferred === undefined)
    throw new AttncError(
      'MODEL_AMBIGUOUS',
      'usage',
      `"${folder}" holds ${models.length} models and none is called ${mainNames.join(' or ')}: ${models.join(', ')}.`,
      { suggestions: [`Pass one of them, for instance "${join(folder, only)}".`] },
    )
  const others = models.filter((each) => each !== preferred)
  return {
    file: preferred,
    choice: `${preferred} of ${models.length}; beside it: ${others.join(', ')}`,
  }
}

function modelsOf(folder: string): string[] {
  const here = filesOf(folder).filter((name) => name.endsWith('.onnx'))
  const below = filesOf(join(folder, 'onnx')).filter((name) => name.endsWith('.onnx'))
  return [...here, ...below.map((name) => join('onnx', name))]
}

const sidecarNames =
  /^(.*config.*\.json|generation.*\.json|tokenizer.*|vocab.*|merges\.txt|special_tokens_map\.json|added_tokens\.json|normalizer\.json|chat_template.*|.*\.jinja|.*\.tiktoken|spiece\.model|.*sentencepiece.*\.model|.*\.bpe\.model|labels?\.(txt|json)|licen[cs]e.*|notice.*)$/i

const sidecarsOf = (folder: string): string[] =>
  filesOf(folder).filter((name) => sidecarNames.test(name) && !name.endsWith('.onnx'))

const hasConfig = (folder: string): boolean => filesOf(folder).includes('config.json')

/** Names of the plain files (or links to such) of a folder, sorted; none where there is no folder. */
function filesOf(folder: string): string[] {
  try {
    return readdirSync(folder, { withFileTypes: true })
      .filter(
        (entry) => entry.isFile() || (entry.isSymbolicLink() && isFile(join(folder, entry.name))),
      )
      .map((entry) => entry.name)
      .sort()
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === 'ENOENT' || code === 'ENOTDIR') return []
    throw unreadable(folder, error)
  }
}

const isFile = (path: string): boolean =>
  statSync(path, { throwIfNoEntry: false })?.isFile() ?? false

function lookAt(path: string): { isDirectory(): boolean } {
  try {
    return statSync(path)
  } catch (error) {
    throw unreadable(path, error)
  }
}

function listFiles(folder: string): string {
  const names = filesOf(folder)
  if (names.length === 0) return '; it holds no files'
  return `; it holds ${names.slice(0, 5).join(', ')}${names.length > 5 ? ' …' : ''}`
}
