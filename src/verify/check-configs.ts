/** Configs beside a model state the head counts, widths and cache shapes that the graph has. */
import { existsSync, readFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { findStates } from '../generate/states.js'
import { modelSizes, type StatedSize, statedSizes } from '../prune/config-edit.js'
import { Inapplicable, Objection } from './report.js'
import type { Subject } from './subject.js'

const files = ['config.json', 'genai_config.json'] as const

export function checkConfigs({ source, view }: Subject): string {
  const present = files.filter((file) => existsSync(join(source.folder, file)))
  if (present.length === 0) throw new Inapplicable('there is no config')
  // An encoder that was carried along with a decoder that was cut.
  if (existsSync(join(source.folder, 'plan.json')) && !source.model.metadata.has('attnc.plan'))
    throw new Inapplicable('the configs speak of the models that the plan was for')
  if (view.attention.length === 0) throw new Inapplicable('the model has no attention')
  const sizes = modelSizes(view)
  const stated = present.flatMap((file) =>
    levelsOf(readJson(join(source.folder, file))).flatMap((level) =>
      statedSizes(level, sizes).map((each): StatedSize & { file: string } => ({ ...each, file })),
    ),
  )
  const wrong = stated.find(({ value, found }) => value !== found)
  if (wrong)
    throw new Objection(
      'model',
      `${wrong.file} says "${wrong.key}" is ${wrong.value}; in ${basename(source.path)} it is ${wrong.found}.`,
    )
  const caches = checkCaches({ source, view })
  return `${stated.length} sizes as the graph has them${caches}`
}

/** Caches [batch, key-value heads, past, head size] are as wide as the attention that reads them. */
function checkCaches({ source, view }: Subject): string {
  const own = view.attention.filter(({ kind }) => kind === 'self')
  const caches = findStates(source.model).filter(({ input }) => input.type?.dims?.length === 4)
  if (caches.length === 0 || caches.length !== 2 * own.length) return ''
  for (const [index, { input }] of caches.entries()) {
    const [, heads] = input.type?.dims ?? []
    const expected = own[Math.floor(index / 2)]?.keyValueHeads
    if (typeof heads === 'number' && heads !== expected)
      throw new Objection(
        'model',
        `Cache "${input.name}" has ${heads} heads; its attention has ${expected}.`,
      )
  }
  return `, ${caches.length} caches as wide as their attention`
}

type Json = { readonly [key: string]: unknown }

/** The config, and the parts of it that speak of the text model. */
function levelsOf(config: unknown): Json[] {
  if (typeof config !== 'object' || config === null) return []
  const object = config as Json
  return [object, ...['text_config', 'model', 'decoder'].flatMap((key) => levelsOf(object[key]))]
}

function readJson(path: string): unknown {
  try {
    return JSON.parse(readFileSync(path, 'utf8'))
  } catch (cause) {
    throw new Objection('model', `"${path}" is no JSON: ${(cause as Error).message}.`)
  }
}
