/**
 * `npm run picture`: the picture of a report in the README, made from a real run on the model in
 * examples/: the frontier, a cut with low-rank training, the page, its top as docs/report.png. Needs
 * Chromium (see CONTRIBUTING.md). The page itself is left in out/picture.
 */
import { spawnSync } from 'node:child_process'
import { mkdirSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { findBrowser, openBrowser } from '../test/report/browser.js'

const root = resolve(import.meta.dirname, '..')
const out = join(root, 'out/picture')
const picture = join(root, 'docs/report.png')
const model = 'examples/tiny-stories'
const text = ['--text-mode', 'paragraphs']
const data = ['--data', `${model}/calibration.txt`, ...text, '--eval', `${model}/eval.txt`]
const size = { width: 1040, height: 1310 }
const largest = 200_000

/** What it printed. */
function attnc(...words: readonly string[]): string {
  process.stdout.write(`$ attnc ${words.join(' ')}\n`)
  const { status, stdout } = spawnSync(process.execPath, [join(root, 'bin/run.js'), ...words], {
    cwd: root,
    encoding: 'utf8',
    stdio: ['inherit', 'pipe', 'inherit'],
    maxBuffer: 1 << 28,
  })
  // With --json, what went wrong is said there.
  if (status !== 0) throw new Error(`attnc ${words[0]} ended with ${status}: ${stdout}`)
  return stdout
}

const executable = findBrowser()
if (!executable) process.exit(1)
mkdirSync(out, { recursive: true })
const [pruned, frontier, run, times, page] = [
  'tiny-stories-40',
  'frontier',
  'prune.json',
  'bench.json',
  'report.html',
].map((name) => join(out, name)) as [string, string, string, string, string]
rmSync(pruned, { recursive: true, force: true })
attnc('sweep', model, ...data, '--ratios', '0.1,0.2,0.3,0.4,0.5,0.6', '-o', frontier)
const recover = ['--recover', 'lora', '--recover-updates', '200']
writeFileSync(
  run,
  attnc('prune', model, ...data, '--ratio', '0.4', ...recover, '-o', pruned, '--json'),
)
writeFileSync(times, attnc('bench', model, pruned, '--runs', '100', '--json'))
process.stdout.write(
  attnc(
    ...['report', model, pruned, '--from', run, '--from', frontier, '--from', times, '--force'],
    ...['--prompt', 'Once upon a time', '--prompt', 'Lily wanted to', '-o', page],
  ),
)
const browser = await openBrowser(executable)
const view = await browser.newPage({ viewport: size, colorScheme: 'light' })
await view.goto(pathToFileURL(page).href)
await view.screenshot({ path: picture })
await browser.close()
const { size: bytes } = statSync(picture)
process.stdout.write(`${picture}: ${bytes} bytes\n`)
if (bytes > largest) throw new Error(`The picture takes more than ${largest} bytes.`)
