/** Configs beside a model state the head counts, widths and cache shapes that the graph has. */
import { existsSync } from 'node:fs'
import { basename, join } from 'node:path'
import { AttncError } from '../errors.js'
import { findStates } from '../generate/states.js'
import { modelSizes } from '../prune/config-edit.js'
import { configFiles, OTHERWISE, readStatedSizes } from '../prune/stated-sizes.js'
import { Inapplicable, Objection } from './report.js'
import type { Subject } from './subject.js'

export function checkConfigs({ source, view }: Subject): string {
  const present = configFiles.filter((file) => existsSync(join(source.folder, file)))
  if (present.length === 0) throw new Inapplicable('there is no config')
  const { metadata } = source.model
  const isCut = metadata.has('attnc.plan')
  // An encoder that was carried along with a decoder that was cut.
  if (!isCut && existsSync(join(source.folder, 'plan.json')))
    throw new Inapplicable('the configs speak of the models that the plan was for')
  if (view.attention.length === 0) throw new Inapplicable('the model has no attention')
  const stated = statedOf(source.folder, view)
  const off = stated.filter(({ value, found }) => value !== found)
  // Families may count otherwise: nothing was promised of a key that never said what the graph has.
  const others = new Set<string>(
    isCut ? JSON.parse(metadata.get(OTHERWISE) ?? '[]') : off.map(({ key }) => key),
  )
  const wrong = off.find(({ key }) => !others.has(key))
  if (wrong)
    throw new Objection(
      'model',
      `${wrong.file} says "${wrong.key}" is ${wrong.value}; in ${basename(source.path)} it is ${wrong.found}.`,
    )
  const caches = checkCaches({ source, view })
  const kept = [...new Set(off.map(({ key }) => key))]
  const note = kept.length > 0 ? `; ${kept.join(', ')} counted otherwise` : ''
  return `${stated.length - off.length} sizes as the graph has them${note}${caches}`
}

function statedOf(folder: string, view: Subject['view']) {
  try {
    return readStatedSizes(folder, modelSizes(view))
  } catch (error) {
    throw error instanceof AttncError ? new Objection('model', error.message) : error
  }
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
