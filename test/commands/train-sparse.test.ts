/** Attention made sparse, then fine-tuned: in two commands and in one. */
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import Apply from '../../commands/apply.js'
import Prune from '../../commands/prune.js'
import Train from '../../commands/train.js'
import type { PruneJson } from '../../src/cli/run-prune.js'
import type { TrainJson } from '../../src/cli/run-train.js'
import { loadModel } from '../../src/model-folder/load.js'
import { example, runCommand, runJson } from './run-command.js'

const folder = mkdtempSync(join(tmpdir(), 'attnc-train-sparse-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const text = join(example, 'calibration.txt')
const data = ['--data', text, '--samples', '96', '--sequence-length', '96', '--provider', 'cpu']
const sparse = ['--pass', 'sparsify', '--pattern', 'window:4+sinks:1+block:16']

const operators = (path: string): string[] =>
  [...loadModel(path).model.graph.nodes()]
    .filter(({ domain }) => domain === 'attnc')
    .map(({ op }) => op)

test('a sparse model gets better by LoRA+, and keeps its operators', async () => {
  const [windowed, trained] = [join(folder, 'windowed'), join(folder, 'trained')]
  const pruned = await runCommand(Prune, [example, ...sparse, '-o', windowed])
  expect(pruned.error).toBeUndefined()
  const roles = ['--method', 'lora', '--roles', 'attention,embeddings,norms']
  const taught = ['--teacher', example, '--teacher-share', '1', '--rate', '5e-5']
  const argv = [windowed, ...data, ...roles, ...taught, '--batch-size', '8', '--updates', '10']
  const { json } = await runJson<TrainJson>(Train, [...argv, '-o', trained])
  expect(json.best).toBeLessThan(json.before)
  expect(operators(trained)).toEqual(operators(windowed))
  expect(operators(trained)).toContain('BlockSparseAttention')
}, 120_000)

test('one command makes attention sparse and trains, and its plan gives the same bytes', async () => {
  const [output, again] = [join(folder, 'once'), join(folder, 'again')]
  const plan = join(folder, 'plan.json')
  const recovery = [
    '--recover',
    'lora',
    '--recover-updates',
    '8',
    '--recite',
    '0',
    '--rate',
    '2e-4',
  ]
  const argv = [example, ...data, ...sparse, ...recovery, '--teacher-share', '1']
  const { json } = await runJson<PruneJson>(Prune, [...argv, '-o', output, '--plan-out', plan])
  const last = json.format === 2 ? json.parts.at(-1) : undefined
  const training = last?.findings?.training as { before: number; best: number } | undefined
  expect(training?.best).toBeLessThan(training?.before ?? 0)
  const ran = await runCommand(Apply, [example, '--plan', plan, '-o', again])
  expect(ran.error).toBeUndefined()
  for (const file of readdirSync(output))
    expect(readFileSync(join(again, file)).equals(readFileSync(join(output, file))), file).toBe(
      true,
    )
}, 120_000)
