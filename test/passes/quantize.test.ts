/** Weights in fewer bits: what is chosen, what a plan says, what a folder holds, what goes together. */
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import Prune from '../../commands/prune.js'
import Verify from '../../commands/verify.js'
import { quantize } from '../../passes/quantize/index.js'
import { Feedback } from '../../passes/quantize/round-with-feedback.js'
import type { PruneJson } from '../../src/cli/run-prune.js'
import { generator } from '../../src/data/generator.js'
import { edit } from '../../src/graph/edit.js'
import type { Model, Value } from '../../src/graph/graph.js'
import { plainProducts, transpose } from '../../src/linear-algebra/products.js'
import { silentLog } from '../../src/log.js'
import { readModel } from '../../src/model/model.js'
import { loadModel } from '../../src/model-folder/load.js'
import { numbersOf, type RuntimeTensor, tensorOf } from '../../src/onnx/numbers.js'
import { float32Tensor } from '../../src/onnx/tensor.js'
import { readPlan } from '../../src/plan/plan-file.js'
import { choosePasses } from '../../src/prune/choose-passes.js'
import { decidePlan } from '../../src/prune/decide.js'
import { dequantise, type Grid, roundToGrid } from '../../src/quantize/grid.js'
import { findQuantizable } from '../../src/quantize/quantizable.js'
import { runBatches } from '../../src/runtime/batches.js'
import { inferShapes } from '../../src/shape/infer.js'
import { build } from '../axes/builder.js'
import { example, runCommand, runJson } from '../commands/run-command.js'

let folder: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'attnc-quantize-'))
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

const reasonOf = (model: Model): string => {
  const { weights, others } = findQuantizable(model.graph, inferShapes(model.graph))
  expect(weights).toEqual([])
  return others[0]?.reason ?? ''
}

describe('a weight is read from what is done with it', () => {
  test.each<[string, (b: Parameters<Parameters<typeof build>[0]>[0]) => Value, string]>([
    ['another operator', (b) => b.op('Add', [b.input('x', [64, 64]), b.weight(64, 64)]), 'Add'],
    [
      'the left side',
      (b) => b.op('MatMul', [b.weight(64, 64), b.input('x', [64, 4])]),
      'on the left',
    ],
    [
      'two axes',
      (b) => {
        const w = b.weight(64, 64)
        const x = b.op('MatMul', [b.input('x', [4, 64]), w])
        return b.op('MatMul', [x, b.transpose(w, 1, 0)])
      },
      'different axes',
    ],
    [
      'a lookup of its columns',
      (b) =>
        b.op('Gather', [b.weight(64, 64), b.op('Cast', [b.input('x', [4])], { to: 7 })], {
          axis: 1,
        }),
      'another axis',
    ],
    [
      'rows that constants pick',
      (b) =>
        b.op('Add', [b.input('x', [2, 64]), b.op('Gather', [b.weight(64, 64), b.integers(1, 2)])]),
      'constants pick',
    ],
    ['few numbers', (b) => b.op('MatMul', [b.input('x', [4, 16]), b.weight(16, 16)]), 'too few'],
    ['a vector', (b) => b.op('MatMul', [b.input('x', [64]), b.weight(64, 64)]), 'no rows'],
  ])('and stays where it is %s', (_, write, reason) => {
    expect(reasonOf(build(write))).toContain(reason)
  })
})

describe('rounding with feedback', () => {
  test.each<Grid>([
    { bits: 4, block: 16, symmetric: false },
    { bits: 4, block: 32, symmetric: true },
    { bits: 8, block: 32, symmetric: false },
  ])('loses less of the products than rounding to the nearest ($bits bits)', async (grid) => {
    const random = generator(2)
    const [n, outputs, tokens] = [96, 20, 400]
    // Inputs that go together: what one loses, others can give.
    const basis = Array.from({ length: 12 * n }, () => random() - 0.5)
    const x = new Float64Array(tokens * n)
    for (let t = 0; t < tokens; t++)
      for (let k = 0; k < 12; k++) {
        const share = random() - 0.5
        for (let i = 0; i < n; i++)
          x[t * n + i] = (x[t * n + i] as number) + share * (basis[k * n + i] as number)
      }
    for (let i = 0; i < x.length; i++) x[i] = (x[i] as number) + 0.01 * (random() - 0.5)
    const rows = { rows: tokens, columns: n, numbers: x }
    const moments = (await plainProducts.multiply(transpose(rows), rows)).numbers
    const weight = Float64Array.from({ length: n * outputs }, () => random() - 0.5)
    const lossOf = async (back: Float32Array): Promise<number> => {
      const turned = transpose({
        rows: outputs,
        columns: n,
        numbers: Float64Array.from(back),
      }).numbers
      const numbers = weight.map((each, i) => each - (turned[i] as number))
      const lost = await plainProducts.multiply(rows, { rows: n, columns: outputs, numbers })
      return lost.numbers.reduce((sum, each) => sum + each * each, 0)
    }
    const nearest = roundToGrid(
      transpose({ rows: n, columns: outputs, numbers: weight }).numbers,
      outputs,
      grid,
      'float32',
    )
    const feedback = await Feedback.of({ moments, tokens }, 0.01, plainProducts)
    const found = await feedback.round(weight, grid, 'float32')
    expect(await lossOf(dequantise(found, grid))).toBeLessThan(
      0.5 * (await lossOf(dequantise(nearest, grid))),
    )
  })
})

const text = join(example, 'calibration.txt')
const few = ['--data', text, '--samples', '2', '--sequence-length', '64', '--provider', 'cpu']

describe('prune --pass quantize', () => {
  test('writes a folder of two models that share one table, and verifies', {
    timeout: 60_000,
  }, async () => {
    const output = join(folder, 'four')
    const plan = join(folder, 'plan.json')
    const argv = [example, '--pass', 'quantize', ...few, '-o', output, '--plan-out', plan]
    const { json } = await runJson<PruneJson>(Prune, argv)
    expect(json.after.parameters).toBe(json.before.parameters)
    expect(json.after.flopsPerToken).toBe(json.before.flopsPerToken)
    expect(json.after.bytes).toBeLessThan(0.25 * json.before.bytes)
    expect(json.check?.largest).toBeLessThan(1e-4)
    expect(existsSync(join(output, 'model_with_past.onnx'))).toBe(true)
    const bytes = readFileSync(join(output, 'weights.bin')).length
    expect(bytes).toBeLessThan(1.05 * json.after.bytes)
    const { stdout, exitCode } = await runCommand(Verify, [output, '--against', example])
    expect(stdout).toContain('replay')
    expect(exitCode).toBe(0)
    // The plan alone, with the codes that were found, gives the same bytes.
    const again = join(folder, 'again')
    await runJson<PruneJson>(Prune, [example, '--plan', plan, '-o', again])
    expect(
      readFileSync(join(again, 'weights.bin')).equals(readFileSync(join(output, 'weights.bin'))),
    ).toBe(true)
    expect(readPlan(plan).parts[0]?.quantized?.some(({ codes }) => codes)).toBe(true)
    // Nothing is left for a second time.
    const { error } = await runCommand(Prune, [output, '--pass', 'quantize', '--dry-run'])
    expect(error).toMatchObject({ code: 'NOTHING_QUANTIZED' })
    expect(error?.message).toContain('integers already')
  })

  test('follows other passes in one command, on what they left', { timeout: 60_000 }, async () => {
    const passes = [
      '--pass',
      'amp',
      '--pass',
      'sparsify',
      '--pattern',
      'window:64',
      '--pass',
      'quantize',
    ]
    const output = join(folder, 'all')
    const argv = [example, ...passes, ...few, '--precision', 'int8', '--symmetric', '-o', output]
    const { json } = await runJson<PruneJson>(Prune, argv)
    expect(json).toMatchObject({ format: 2 })
    expect(json.after.parameters).toBeLessThan(0.9 * json.before.parameters)
    expect(json.after.bytes).toBeLessThan(0.35 * json.before.bytes)
    const ops = [...loadModel(output).model.graph.nodes()].map(({ op }) => op)
    expect(ops).toContain('MatMulNBits')
    expect(ops).toContain('BlockSparseAttention')
  })

  test('takes the whole model to half precision, inputs and outputs left as they are', async () => {
    const output = join(folder, 'half')
    const argv = [example, '--pass', 'quantize', '--precision', 'float16', '-o', output]
    const { json } = await runJson<PruneJson>(Prune, argv)
    expect(json.after.bytes).toBeLessThan(0.51 * json.before.bytes)
    expect(json.after.parameters).toBe(json.before.parameters)
    const { model } = loadModel(output)
    const ends = [...model.graph.inputs, ...model.graph.outputs].map(({ type }) => type?.dataType)
    expect(ends).toEqual(['int64', 'int64', 'float32'])
    // A row without any token: what masks it has to stay a number.
    const ids = tensorOf('int64', [1, 8], [1, 2, 3, 4, 5, 6, 7, 8])
    const feeds = { input_ids: ids, attention_mask: tensorOf('int64', [1, 8], Array(8).fill(0)) }
    await runBatches(model, [{ feeds }], { log: silentLog }, undefined, (results) => {
      const numbers = numbersOf(Object.values(results)[0] as RuntimeTensor)
      expect(numbers.every(Number.isFinite)).toBe(true)
    })
    const { exitCode } = await runCommand(Verify, [output, '--against', example])
    expect(exitCode).toBe(0)
    const { error } = await runCommand(Prune, [
      output,
      '--pass',
      'quantize',
      '--dry-run',
      '--precision',
      'float16',
    ])
    expect(error).toMatchObject({ code: 'NOTHING_QUANTIZED' })
  })

  test('protects layers, and leaves tables where it is told to', async () => {
    const source = loadModel(example)
    const view = readModel(source.model.graph)
    const [pass] = choosePasses(['quantize'], { protect: ['layer 0'], tables: 'float' }, view)
    const { plan } = await decidePlan({
      source,
      passes: pass ? [pass] : [],
      single: true,
      log: silentLog,
    })
    const [part] = plan.parts
    const { left = [] } = (part?.options ?? {}) as { left?: readonly { reason: string }[] }
    expect(part?.quantized).toHaveLength(21)
    expect(left.map(({ reason }) => reason)).toEqual([
      'tables stay as they are',
      ...Array<string>(7).fill('it is protected'),
    ])
  })
})

describe('is refused', () => {
  const view = readModel(loadModel(example).model.graph)
  test.each([
    ['before a pass that cuts', ['quantize', 'amp'], {}, 'PASS_ORDER'],
    ['before training', ['quantize', 'recover'], {}, 'PASS_ORDER'],
    ['before patterns', ['quantize', 'sparsify'], { pattern: 'window:64' }, 'PASS_ORDER'],
    ['twice', ['quantize', 'quantize'], {}, 'PASS_ORDER'],
    ['where its flags have no reader', ['amp'], { precision: 'int8' }, 'PASS_FLAG'],
  ])('%s', (_, names, flags, code) => {
    expect(() => choosePasses(names, flags, view)).toThrow(expect.objectContaining({ code }))
  })

  test.each([{ rounding: 'calibrated' }, { precision: 'qdq' }] as const)(
    '%o without data, before any work',
    (options) => {
      const pass = quantize(options)
      expect(() => pass.check?.({ view, batches: undefined, canCalibrate: false })).toThrow(
        expect.objectContaining({ code: 'NO_DATA' }),
      )
    },
  )

  test.each([
    ['of 3 bits', '"grid":{"bits":3,"block":32,"symmetric":true}'],
    ['in blocks of 48', '"grid":{"bits":4,"block":48,"symmetric":true}'],
    ['without a grid', '"other":1'],
  ])('as a plan %s', (_, grid) => {
    const path = join(folder, 'plan.json')
    writeFileSync(path, `{"format":1,"slices":[],"quantized":[{"name":"w","accuracy":0,${grid}}]}`)
    expect(() => readPlan(path)).toThrow(expect.objectContaining({ code: 'PLAN_FORMAT' }))
  })

  test('not where a flag alone asks for training, which then comes before it', () => {
    const flags = { recover: 'distill' }
    const chosen = choosePasses(['amp', 'quantize'], flags, view)
    expect(chosen.map(({ name }) => name)).toEqual(['amp', 'recover', 'quantize'])
  })

  test('in blocks that no kernel takes', () => {
    expect(() => quantize({ block: 48 })).toThrow(expect.objectContaining({ code: 'BLOCK_SIZE' }))
  })

  test('on a table with NaN in it', async () => {
    const source = loadModel(example)
    edit(source.model.graph, 'test', (change) => {
      const table = source.model.graph.values.get('m.lm_head.weight') as Value
      const { dims = [] } = table.constant ?? {}
      change.setConstant(table, float32Tensor(dims, new Float32Array(2048 * 192).fill(Number.NaN)))
    })
    const options = { source, passes: [quantize()], single: true, log: silentLog }
    await expect(decidePlan(options)).rejects.toThrow(
      expect.objectContaining({ code: 'WEIGHT_NOT_FINITE' }),
    )
  })
})

test('rounding ends between two weights where it is interrupted', async () => {
  const controller = new AbortController()
  const reason = new Error('enough')
  const seen: number[] = []
  const log = {
    ...silentLog,
    progress(step: string, done: number) {
      if (step !== 'rounding weights') return
      seen.push(done)
      controller.abort(reason)
    },
  }
  const passes = [quantize({ rounding: 'nearest' })]
  const source = loadModel(example)
  const { signal } = controller
  await expect(decidePlan({ source, passes, single: true, log, signal })).rejects.toBe(reason)
  expect(seen).toEqual([1])
})
