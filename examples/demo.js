/**
 * `npm run demo`: the main job on the model beside this file, each step as one would type it. Writes
 * to out/, which git ignores; running it again starts anew.
 */
import { spawnSync } from 'node:child_process'
import { rmSync } from 'node:fs'
import { join, resolve } from 'node:path'

const root = resolve(import.meta.dirname ?? new URL('.', import.meta.url).pathname, '..')
const model = 'examples/tiny-stories'
const smaller = 'out/tiny-stories-30'
const page = `${smaller}.html`
const text = ['--text-mode', 'paragraphs']

const say = (line) => process.stdout.write(`${line}\n`)

/** Shows a command, runs it, and ends the demo where it fails. */
function attnc(why, ...words) {
  say(
    `\n# ${why}\n$ attnc ${words.map((word) => (word.includes(' ') ? `'${word}'` : word)).join(' ')}\n`,
  )
  const { status } = spawnSync(process.execPath, [join(root, 'bin/run.js'), ...words], {
    cwd: root,
    stdio: 'inherit',
  })
  if (status !== 0) process.exit(status ?? 130)
}

for (const old of [smaller, page]) rmSync(join(root, old), { recursive: true, force: true })
const started = performance.now()
say(
  'A language model that writes stories for children: 2 million parameters, an ONNX folder of 8 MB.',
)
attnc('What is it made of, and what may go?', 'inspect', model)
attnc(
  'Take 30 % of its blocks away: calibrate on some stories, decide, re-fit, check, measure on others.',
  ...['prune', model, '--ratio', '0.3', '--data', `${model}/calibration.txt`, ...text],
  ...['--eval', `${model}/eval.txt`, '-o', smaller],
)
attnc('Is it faster? Both run in turns.', 'bench', model, smaller, '--sequence-length', '256')
attnc(
  'What changed?',
  ...['compare', model, smaller, '--data', `${model}/eval.txt`, ...text, '--samples', '8'],
)
attnc('Does the folder keep its promises?', 'verify', smaller, '--against', model)
for (const [which, path] of [
  ['before', model],
  ['after', smaller],
])
  attnc(
    `A story ${which}.`,
    ...['generate', path, '--prompt', 'Once upon a time, there was a little'],
    ...['--temperature', '0.7', '--top-p', '0.9', '--seed', '3', '--max-tokens', '80'],
  )
attnc(
  'All of it on one page.',
  ...['report', model, smaller, '--bench', '--eval', `${model}/eval.txt`, ...text],
  ...['--prompt', 'Once upon a time', '-o', page],
)
say(
  `\nThat took ${Math.round((performance.now() - started) / 1000)} s. The smaller model is ${smaller}; its plan is in ${smaller}/plan.json, and ${page} shows what happened.`,
)
say(
  'Your own model: node bin/run.js prune MODEL --data text.txt -o smaller   (or npm link, then attnc …)',
)
