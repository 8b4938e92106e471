#!/usr/bin/env node
/**
 * attnc as a program. The two pages that people see first load nothing: oclif takes a tenth of a second to
 * start, so the build keeps its help as text (bin/help-page.js).
 */
import { existsSync, readFileSync } from 'node:fs'
import module from 'node:module'
import { arch, platform, version } from 'node:process'

// Ctrl-C while things are being loaded; commands bring their own, longer answer.
process.on('SIGINT', () => {
  if (process.listenerCount('SIGINT') > 1) return
  const error = {
    code: 'INTERRUPTED',
    message: 'Interrupted; nothing was written.',
    suggestions: [],
  }
  if (process.argv.includes('--json'))
    process.stdout.write(`${JSON.stringify({ error }, null, 2)}\n`)
  process.exit(130)
})

// Before oclif's own, which throws: results may be sent to a file on a full disk. A reader that has seen enough is no error.
process.stdout.on('error', ({ code, message }) => {
  if (code === 'EPIPE') return
  process.stderr.write(
    `    Error: The results can't be written to stdout: ${message}.\n    Code: OUTPUT_UNWRITABLE\n    Try this: Send them to a file on a disk that has room.\n`,
  )
  process.exit(1)
})

const read = (path) => readFileSync(new URL(path, import.meta.url), 'utf8')
const typed = process.argv.slice(2).join(' ')
const page = '../dist/help.txt'
const hasPage = existsSync(new URL(page, import.meta.url))
if (typed === '--version' || (['', '--help', 'help'].includes(typed) && hasPage)) {
  const agent = `attnc/${JSON.parse(read('../package.json')).version} ${platform}-${arch} node-${version}`
  process.stdout.write(typed === '--version' ? `${agent}\n` : read(page).replace('AGENT', agent))
} else {
  // From Node 22 on, compiled code is kept between runs.
  module.enableCompileCache?.()
  const { execute } = await import('@oclif/core/execute')
  await execute({ dir: import.meta.url })
}
