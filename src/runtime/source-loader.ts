/** From built files, threads and processes are plain JavaScript; from sources they first learn to read TypeScript. */
import { createRequire } from 'node:module'
import { pathToFileURL } from 'node:url'

export interface SourceLoader {
  /** What `node --import` takes. */
  readonly hook: string
  /** A module whose `register` does the same later on. */
  readonly api: string
}

/** undefined where this runs from built files. */
export function sourceLoader(): SourceLoader | undefined {
  if (!import.meta.url.endsWith('.ts')) return undefined
  const place = pathToFileURL(createRequire(import.meta.url).resolve('tsx/package.json'))
  return {
    hook: new URL('./dist/loader.mjs', place).href,
    api: new URL('./dist/esm/api/index.mjs', place).href,
  }
}
