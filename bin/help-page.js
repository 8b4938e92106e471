/** Part of the build: keeps the help of the program as text, so that it can be shown at once. */
import { execFileSync } from 'node:child_process'
import { rmSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

const page = new URL('../dist/help.txt', import.meta.url)
rmSync(page, { force: true })
const text = execFileSync(
  process.execPath,
  [fileURLToPath(new URL('run.js', import.meta.url)), '--help'],
  { encoding: 'utf8', env: { ...process.env, COLUMNS: '80', FORCE_COLOR: '0' } },
)
writeFileSync(page, text.replace(/attnc\/\S+ \S+ node-\S+/, 'AGENT'))
