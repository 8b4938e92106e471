import { createRequire } from 'node:module'

const require = createRequire(import.meta.url)

/** attnc's own version. From sources the package is one folder up, from built files two. */
export const version: string = (() => {
  for (const path of ['../package.json', '../../package.json'])
    try {
      const found = require(path) as { name?: string; version?: string }
      if (found.name === 'attnc' && found.version) return found.version
    } catch {
      // The other place.
    }
  return 'unknown'
})()
