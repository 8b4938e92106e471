/**
 * What a measurement can't do or shouldn't be believed is said: memory that isn't there, outputs
 * that are no numbers.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import Bench from '../../commands/bench.js'
import Calibrate from '../../commands/calibrate.js'
import Eval from '../../commands/eval.js'
import Prune from '../../commands/prune.js'
import { bench } from '../../src/bench/bench.js'
import type { ErrorReport } from '../../src/cli/base-command.js'
import { writeArrays } from '../../src/data/npz.js'
import { edit } from '../../src/graph/edit.js'
import type { Value } from '../../src/graph/graph.js'
import { silentLog } from '../../src/log.js'
import { loadModel } from '../../src/model-folder/load.js'
import { saveModelFolder } from '../../src/model-folder/save.js'
import type { RuntimeTensor } from '../../src/onnx/numbers.js'
import { tensorFromBytes } from '../../src/onnx/tensor.js'
import { build } from '../axes/builder.js'
import { type CommandClass, example, runCommand } from '../commands/run-command.js'

const folder = mkdtempSync(join(tmpdir(), 'attnc-bench-'))
afterAll(() => rmSync(folder, { recursive: true }))

const quick = { log: silentLog, runs: 1, warmUp: 0, threads: 1, memory: false }

describe('more tokens than memory holds', () => {
  test('are refused before anything is opened, with what they need and how many fit', async () => {
    const { stdout, exitCode } = await runCommand(Bench, [
      example,
      ...['--sequence-length', '3000000', '--json'],
    ])
    const { error } = JSON.parse(stdout) as ErrorReport
    expect(exitCode).toBe(7)
    expect(error.code).toBe('TOO_LITTLE_MEMORY')
    expect(error.message).toMatch(/^3,000,000 tokens need about [\d.]+ (k|T)?B of memory; .+ free/)
    const fitting = Number(/--sequence-length (\d+)/.exec(error.suggestions.join())?.[1])
    expect(fitting).toBeGreaterThan(256)
    expect(fitting).toBeLessThan(300_000)
  })
})

describe('data whose batches memory does not hold', () => {
  const file = join(folder, 'rows.npz')
  const ones = (rows: number): RuntimeTensor => ({
    dataType: 'int32',
    dims: [rows, 256],
    data: new Int32Array(rows * 256).fill(1),
  })
  // As many rows at once as there are: more than a terabyte of activations.
  const rows = 60_000
  const atOnce = ['--batch-size', String(rows), '--json']

  test.each<[string, CommandClass, readonly string[]]>([
    ['eval', Eval, ['--data', file]],
    [
      'calibrate',
      Calibrate,
      ['--data', file, '--samples', String(rows), '-o', join(folder, 'c.npz')],
    ],
    ['prune', Prune, ['--data', file, '--samples', String(rows), '-o', join(folder, 'out')]],
  ])('%s refuses them before anything runs, with how many rows fit', async (_, command, argv) => {
    writeFileSync(file, writeArrays({ input_ids: ones(rows), attention_mask: ones(rows) }))
    const { stdout, exitCode } = await runCommand(command, [example, ...argv, ...atOnce])
    const { error } = JSON.parse(stdout) as ErrorReport
    expect(exitCode).toBe(7)
    expect(error.code).toBe('TOO_LITTLE_MEMORY')
    expect(error.message).toMatch(/^A batch of input_ids \[60000, 256\] needs about .+ are free\.$/)
    const fitting = Number(/--batch-size (\d+)/.exec(error.suggestions.join())?.[1])
    expect(fitting).toBeGreaterThan(8)
    expect(fitting).toBeLessThan(rows / 2)
  })
})

describe('outputs that are NaN', () => {
  const model = build((b) => {
    const x = b.input('x', ['batch', 'length'])
    const root = b.op('Sqrt', [b.op('Sub', [b.op('Abs', [x]), b.scalar(100)])])
    b.declare(root, ['batch', 'length'])
    b.expose(root)
    return x
  })

  test('are named beside the times', async () => {
    await saveModelFolder({ models: { 'model.onnx': model }, to: join(folder, 'nan') })
    const { models } = await bench([loadModel(join(folder, 'nan'))], quick)
    expect(models[0]?.notNumbers).toEqual([model.graph.outputs[0]?.name])
    const { stderr, exitCode } = await runCommand(Bench, [
      join(folder, 'nan'),
      ...['--runs', '1', '--no-memory'],
    ])
    expect(exitCode).toBe(0)
    expect(stderr.replaceAll(/\s+/g, ' ')).toMatch(/is NaN on these inputs.*\(NOT_A_NUMBER\)/)
  })

  test('of a language model leave decoding out, and the prompt is measured', async () => {
    const { model } = loadModel(join(example, 'model_with_past.onnx'))
    edit(model.graph, 'test', (change) => {
      const logits = model.graph.outputs[0] as Value
      const scores = logits.producer?.outputs[0] as Value
      const none = change.constant(tensorFromBytes('float32', [], new Uint8Array([0, 0, 192, 127])))
      const spoiled = change.add('Add', [scores, none])
      change.replaceUses(scores, spoiled, ({ node }) => node !== spoiled.producer)
      model.graph.outputs[0] = spoiled
      change.setType(spoiled, logits.type)
    })
    const to = join(folder, 'nan-language')
    await saveModelFolder({ models: { 'model.onnx': model }, to })
    const { stderr, stdout, exitCode } = await runCommand(Bench, [
      to,
      ...['--sequence-length', '8', '--runs', '1', '--no-memory'],
    ])
    expect(exitCode).toBe(0)
    expect(stdout).toMatch(/prefill +[\d.]+ ms/)
    expect(stdout).toMatch(/decode, a token +–/)
    expect(stderr.replaceAll(/[\s›]+/g, ' ')).toMatch(/is NaN after .* Decoding is not measured\./)
  })

  test('are not seen in a model that says numbers', async () => {
    const { models } = await bench([loadModel(example)], { ...quick, sequenceLength: 8 })
    expect(models[0]?.notNumbers).toEqual([])
  })
})
