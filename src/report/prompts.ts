/** Beginnings of a text that both models can continue, where nobody gave any. */
import { existsSync } from 'node:fs'
import { extname, join } from 'node:path'
import { readDataText } from '../data/read-text.js'
import { AttncError } from '../errors.js'
import { chooseGenerator } from '../generate/choose-model.js'
import { readLanguagePorts } from '../generate/language-ports.js'
import type { LoadedModel } from '../model-folder/load.js'

/** Of paragraphs that are long enough to have one. */
const words = { paragraph: 12, prompt: 6 }
const most = 2

/** None where the file holds no text, or the model says none. */
export function promptsFrom(
  path: string | undefined,
  source: LoadedModel,
  single: boolean,
): string[] {
  const isText = path !== undefined && ['.txt', '.md'].includes(extname(path).toLowerCase())
  if (!isText || !existsSync(join(source.folder, 'tokenizer.json'))) return []
  if (!canSpeak(source, single)) return []
  return readDataText(path)
    .split(/\n\s*\n|\n/)
    .map((paragraph) => paragraph.trim().split(/\s+/))
    .filter((paragraph) => paragraph.length >= words.paragraph)
    .slice(0, most)
    .map((paragraph) => paragraph.slice(0, words.prompt).join(' '))
}

function canSpeak(source: LoadedModel, single: boolean): boolean {
  try {
    readLanguagePorts(chooseGenerator(source, single).model)
    return true
  } catch (error) {
    if (error instanceof AttncError) return false
    throw error
  }
}
