/** Models that lie beside the project where it is developed; tests that need them are skipped elsewhere. */
import { existsSync } from 'node:fs'
import { resolve } from 'node:path'

const root = resolve(import.meta.dirname, '..', '..', 'shared', 'models')

/** The path of a model folder, or undefined with the reason printed. */
export function sharedModel(name: string): string | undefined {
  const path = resolve(root, name)
  if (existsSync(path)) return path
  process.stderr.write(`skipped: there is no ../shared/models/${name}\n`)
  return undefined
}
