/** Every example of every command's help does what it says, with paths of our own. */
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import Apply from '../../commands/apply.js'
import Calibrate from '../../commands/calibrate.js'
import type { FolderJson } from '../../src/cli/prune-json.js'
import { writeArrays } from '../../src/data/npz.js'
import { tensorOf } from '../../src/onnx/numbers.js'
import { adapterFiles } from '../../src/train/adapter/adapter-file.js'
import { type CommandClass, example, root, runCommand, runJson } from './run-command.js'

const folder = mkdtempSync(join(tmpdir(), 'attnc-examples-'))
const commands = await Promise.all(
  readdirSync(join(root, 'commands'), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.ts'))
    .map(async (name) => {
      const loaded = (await import(join(root, 'commands', name))) as { default: CommandClass }
      return { id: name.replace('.ts', '').replaceAll('/', ' '), command: loaded.default }
    }),
)

/** What the examples call things, and what stands for it here. */
const paths: Readonly<Record<string, string>> = {
  'model/': example,
  'model/model.onnx': join(example, 'model.onnx'),
  // What runs before left.
  'smaller/': join(folder, 'smaller'),
  'prune.json': join(folder, 'prune.json'),
  'frontier/': join(folder, 'frontier'),
  'text.txt': join(example, 'calibration.txt'),
  'eval.txt': join(example, 'eval.txt'),
  'adapter/': join(folder, 'adapter'),
}

beforeAll(async () => {
  for (const index of [1, 2]) {
    const argv = [example, '--data', join(example, 'calibration.txt'), '--samples=4', '--shard']
    argv.push(`${index}/2`, '-o', join(folder, `part-${index}.npz`))
    expect((await runCommand(Calibrate, argv)).error).toBeUndefined()
  }
  const ids = Array.from({ length: 8 * 32 }, (_, i) => (i * 37) % 2048)
  const arrays = {
    input_ids: tensorOf('int64', [8, 32], ids),
    attention_mask: tensorOf(
      'int64',
      [8, 32],
      ids.map(() => 1),
    ),
  }
  writeFileSync(join(folder, 'arrays.npz'), writeArrays(arrays))
  // The first projection of the example, by the name that its exporter gave it.
  const pair = {
    module: 'val_79',
    inputs: 192,
    outputs: 192,
    a: new Float32Array(192).fill(0.01),
    b: new Float32Array(192).fill(0.01),
    scale: 1,
  }
  mkdirSync(join(folder, 'adapter'))
  const adapter = { pairs: [pair], whole: new Map() }
  for (const [name, content] of Object.entries(
    adapterFiles(adapter, { rank: 1, alpha: 1, base: 'tiny-stories' }),
  ))
    writeFileSync(join(folder, 'adapter', name), content)
  const slices = [{ dimension: 'layer.1.width', remove: [0, 1, 2] }]
  writeFileSync(join(folder, 'plan.json'), JSON.stringify({ format: 1, slices }))
  const apply = [example, '--plan', join(folder, 'plan.json'), '-o', join(folder, 'smaller')]
  const { json } = await runJson<FolderJson>(Apply, apply)
  writeFileSync(join(folder, 'prune.json'), JSON.stringify(json))
  mkdirSync(join(folder, 'frontier'))
  const point = {
    ...json.before,
    ratio: 0,
    metric: 'perplexity',
    value: 6.7,
    samples: 1,
    plan: null,
  }
  const sweep = { format: 1, key: '', points: [point], knee: null }
  writeFileSync(join(folder, 'frontier', 'sweep.json'), JSON.stringify(sweep))
})

afterAll(() => rmSync(folder, { recursive: true, force: true }))

describe.each(commands)('$id', ({ id, command }) => {
  const examples = (command.examples ?? []).map((each) =>
    typeof each === 'string' ? each : each.command,
  )

  it('has examples', () => expect(examples.length).toBeGreaterThan(0))

  it.each(examples)('runs %s', async (text) => {
    const place = mkdtempSync(join(folder, 'run-'))
    mkdirSync(place, { recursive: true })
    const words = [...text.matchAll(/'([^']*)'|<%=[^>]*%>|\S+/g)].map(
      ([word, quoted]) => quoted ?? word,
    )
    const length = 1 + id.split(' ').length
    expect(words.slice(0, length).join(' ')).toBe(`<%= config.bin %> ${id}`)
    const argv = words
      .slice(length)
      .map((word, index, all) =>
        all[index - 1] === '-o' ? join(place, word) : (paths[word] ?? placeOf(word, place)),
      )
    const { flags = {} } = command
    const updates = id === 'train' || argv.includes('vtrans') ? '--updates' : '--recover-updates'
    const isTraining = updates === '--updates' || /--recover (lora|full|distill)/.test(text)
    if (isTraining) shorten(argv, updates, '2')
    if ('samples' in flags && !argv.includes('--samples'))
      argv.push(`--samples=${isTraining ? 16 : 4}`)
    if ('eval-samples' in flags) argv.push('--eval-samples=4')
    const { error, exitCode, stdout } = await runCommand(command, argv)
    expect(error?.message).toBeUndefined()
    expect(exitCode).toBe(0)
    expect(stdout).not.toBe('')
  })
})

/** Gives a flag a smaller value, whether it was stated or not. */
function shorten(argv: string[], flag: string, value: string): void {
  const at = argv.indexOf(flag)
  if (at >= 0) argv.splice(at, 2)
  argv.push(flag, value)
}

/** Inputs lie in the folder of all examples; outputs in one of their own. */
function placeOf(word: string, place: string): string {
  if (/^(arrays\.npz|part-\d\.npz|plan\.json)$/.test(word)) return join(folder, word)
  return /\/$|\.(xml|html|json|npz)$/.test(word) ? join(place, word) : word
}
