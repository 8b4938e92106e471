/** From built files, threads and processes are plain JavaScript; from sources they first learn to read TypeScript. */
import { type ChildProcess, fork } from 'node:child_process'
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

/** A process that runs a module, named without its ending from the one that `base` is, and talks by messages alone. */
export function forkModule(module: string, base: string): ChildProcess {
  const loader = sourceLoader()
  return fork(new URL(`${module}.${loader ? 'ts' : 'js'}`, base), {
    serialization: 'advanced',
    stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
    execArgv: loader ? ['--import', loader.hook] : [],
  })
}
