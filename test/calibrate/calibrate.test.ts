import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { calibrate, measure } from '../../src/calibrate/calibrate.js'
import { calibrateToFile } from '../../src/calibrate/calibrate-to-file.js'
import {
  loadCalibrationFor,
  readCalibration,
  writeCalibration,
} from '../../src/calibrate/calibration-file.js'
import type { Calibration } from '../../src/calibrate/state.js'
import { isComplete, mergeStates } from '../../src/calibrate/state.js'
import { type Batch, makeTokenBatch } from '../../src/data/batch.js'
import { generator } from '../../src/data/generator.js'
import { portsOf } from '../../src/data/open-data.js'
import { randomBatches } from '../../src/data/random.js'
import { type Log, silentLog } from '../../src/log.js'
import { loadModel } from '../../src/model-folder/load.js'

const zoo = '../shared/models/zoo'
const folder = mkdtempSync(join(tmpdir(), 'attnc-test-'))
afterAll(() => rmSync(folder, { recursive: true }))

const options = { log: silentLog, moments: true, threads: 1 }
const names = { state: 'a', other: 'b' }

/** Rows of random ids. */
function rowsOf(lengths: readonly number[], seed: number): number[][] {
  const next = generator(seed)
  return lengths.map((length) => Array.from({ length }, () => 1 + Math.floor(next() * 60)))
}

function expectClose(one: Calibration, other: Calibration, tolerance: number): void {
  expect([...one.keys()]).toEqual([...other.keys()])
  for (const [key, a] of one) {
    const b = other.get(key)
    expect(b?.prompts).toBe(a.prompts)
    expect(b?.tokens).toBe(a.tokens)
    for (const field of ['absolute', 'moments'] as const) {
      const [x, y] = [Array.from(a[field] ?? []), b?.[field] ?? []]
      const scale = Math.max(...x.map(Math.abs))
      const worst = x.reduce((top, each, i) => Math.max(top, Math.abs(each - (y[i] ?? 0))), 0)
      expect(worst / scale, `${key} ${field}`).toBeLessThan(tolerance)
    }
  }
}

describe.skipIf(!existsSync(zoo))(
  `zoo (skipped where ${zoo} is absent)`,
  { timeout: 60_000 },
  () => {
    const open = (name: string) => loadModel(join(zoo, name, 'model.onnx'))

    test('parts from any machines, merged in any order, give the bytes of a single run', async () => {
      const { model } = open('llama-ts')
      const ports = portsOf(model)
      const batches = [0, 1, 2, 3, 4].map((seed) => makeTokenBatch(rowsOf([7, 5], seed), ports))
      const write = async (state: Parameters<typeof writeCalibration>[1]): Promise<Buffer> => {
        await writeCalibration(join(folder, 'a.npz'), state)
        return readFileSync(join(folder, 'a.npz'))
      }
      const whole = await write(await measure(model, { ...options, batches }))
      const parts = []
      for (const index of [3, 1, 2])
        parts.push(await measure(model, { ...options, batches, shard: { index, count: 3 } }))
      const [first, second, third] = parts as [
        (typeof parts)[0],
        (typeof parts)[0],
        (typeof parts)[0],
      ]
      expect(isComplete(first)).toBe(false)
      mergeStates(second, third, names)
      mergeStates(second, first, names)
      expect(isComplete(second)).toBe(true)
      expect(Buffer.compare(await write(second), whole)).toBe(0)
      expect(Buffer.compare(await write(readCalibration(join(folder, 'a.npz'))), whole)).toBe(0)
      expect(() => mergeStates(second, third, names)).toThrow(/is in "a" and in "b"/)
      const others = await measure(model, { ...options, batches: batches.slice(1) })
      expect(() => mergeStates(others, third, names)).toThrow(/data .* and .*; batches 4 and 5/)
    })

    test('an interrupted run goes on and gives the bytes of one that was not', async () => {
      const { model, digest } = open('gpt2-ts')
      const ports = portsOf(model)
      const batches = [0, 1, 2, 3].map((seed) => makeTokenBatch(rowsOf([9, 9], seed), ports))
      const common = { ...options, batches, digest: await digest() }
      const whole = join(folder, 'whole.npz')
      await calibrateToFile(model, { ...common, output: whole })
      const output = join(folder, 'resumed.npz')
      const controller = new AbortController()
      const messages: string[] = []
      const log: Log = {
        ...silentLog,
        info: (message) => messages.push(message),
        progress: (_, done) => {
          if (done === 2) controller.abort(new Error('enough'))
        },
      }
      const { signal } = controller
      await expect(calibrateToFile(model, { ...common, output, signal, log })).rejects.toThrow(
        'enough',
      )
      expect([existsSync(output), existsSync(`${output}.part`)]).toEqual([false, true])
      await calibrateToFile(model, { ...common, output, log })
      expect(messages.at(-1)).toBe('Going on after 2 of 4 batches.')
      expect(existsSync(`${output}.part`)).toBe(false)
      expect(Buffer.compare(readFileSync(output), readFileSync(whole))).toBe(0)
      await expect(calibrateToFile(model, { ...common, output })).rejects.toMatchObject({
        code: 'OUTPUT_EXISTS',
      })
      expect(() => loadCalibrationFor(output, 'another')).toThrow(/made from another model/)
    })

    test.each(['bert-ts', 'llama-ts'])('padding counts nothing: %s', async (name) => {
      const { model } = open(name)
      const ports = portsOf(model)
      const rows = rowsOf([11, 4, 7], 5)
      const padded = [makeTokenBatch(rows, ports)]
      const alone = rows.map((row) => makeTokenBatch([row], ports))
      // Every token, as where sampling begins differs from batch to batch.
      const all = { ...options, stride: 1 }
      expectClose(
        await calibrate(model, { ...all, batches: padded }),
        await calibrate(model, { ...all, batches: alone }),
        1e-5,
      )
    })

    test('moments are those of the definition, and images are counted one by one', async () => {
      const { model } = open('vit-ts')
      const inputs = portsOf(model)
      const batches = randomBatches({
        inputs,
        sequenceLength: 1,
        batchSize: 4,
        samples: 4,
        seed: 1,
      })
      const one = await calibrate(model, { ...options, batches, stride: 1 })
      const single = batches.flatMap(({ feeds }) => splitRows(feeds))
      expectClose(one, await calibrate(model, { ...options, batches: single, stride: 1 }), 1e-5)
      for (const { size, moments, absolute, tokens, prompts } of one.values()) {
        expect(prompts).toBe(4)
        expect(moments?.length).toBe(size * size)
        expect(tokens % 4).toBe(0)
        expect(absolute.every((each) => each > 0)).toBe(true)
        // Symmetric, and no entry larger than its diagonal allows.
        for (let i = 0; i < size; i++)
          for (let j = 0; j < size; j++) {
            const value = moments?.[i * size + j] ?? 0
            expect(value).toBe(moments?.[j * size + i])
            const bound = (moments?.[i * size + i] ?? 0) * (moments?.[j * size + j] ?? 0)
            expect(value ** 2).toBeLessThanOrEqual(bound * 1.0001)
          }
      }
    })

    test('names the block that is not finite', async () => {
      const { model } = open('vit-ts')
      const inputs = portsOf(model)
      const batches = randomBatches({
        inputs,
        sequenceLength: 1,
        batchSize: 1,
        samples: 1,
        seed: 1,
      })
      const pixels = Object.values(batches[0]?.feeds ?? {})[0]?.data as Float32Array
      pixels[0] = Number.NaN
      await expect(calibrate(model, { ...options, batches })).rejects.toMatchObject({
        code: 'CALIBRATION_NOT_FINITE',
        message: expect.stringContaining('"attention.0"'),
      })
    })
  },
)

function splitRows(feeds: Batch['feeds']): Batch[] {
  const rows = Object.values(feeds)[0]?.dims[0] ?? 0
  return Array.from({ length: rows }, (_, row) => ({
    tokenMask: undefined,
    ids: [],
    feeds: Object.fromEntries(
      Object.entries(feeds).map(([name, { data, dims, dataType }]) => {
        const each = data.length / rows
        const own = data.slice(row * each, (row + 1) * each)
        return [name, { dataType, dims: [1, ...dims.slice(1)], data: own as Float32Array }]
      }),
    ),
  }))
}

test('says what is wrong with a file that is no calibration', () => {
  expect(() => readCalibration(join(folder, 'absent.npz'))).toThrow(/There is no calibration at/)
  expect(() => readCalibration('package.json')).toThrow(
    /is no calibration: it has no zip directory/,
  )
})
