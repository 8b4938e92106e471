/**
 * Targets from the command line to the folder that is written: what was asked for is counted anew on the
 * files, and what can't be reached ends with 6 and the nearest that can.
 */
import { mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import Inspect from '../../commands/inspect.js'
import Prune from '../../commands/prune.js'
import { measureMemory } from '../../src/bench/memory.js'
import { tensorOf } from '../../src/onnx/numbers.js'
import { example, runCommand, runJson } from './run-command.js'

let folder: string
let output: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'attnc-targets-'))
  output = join(folder, 'smaller')
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

const cheap = ['--criterion', 'magnitude', '--recover', 'none']
const withCache = join(example, 'model_with_past.onnx')

interface Inspected {
  readonly parameters: number
  readonly bytes: number
  readonly flopsPerToken: number
  readonly cacheBytesPerToken: number | null
}
interface Result {
  readonly targets: readonly {
    readonly target: string
    readonly share: number
    readonly low?: number
    readonly high?: number
    readonly met: boolean
  }[]
  readonly error?: { readonly code: string; readonly suggestions: readonly string[] }
}

async function prune(targets: readonly string[], more: readonly string[] = cheap) {
  const asked = targets.flatMap((each) => ['--target', each])
  const argv = [example, ...more, ...asked, '-o', output, '--json']
  const { stdout, exitCode } = await runCommand(Prune, argv)
  return { result: JSON.parse(stdout) as Result, exitCode }
}

const inspected = async (path: string): Promise<Inspected> =>
  (await runJson<Inspected>(Inspect, [path])).json

/** Both models of a folder and the weights that they share, as they lie on the disk. */
const bytesOf = (at: string): number =>
  readdirSync(at)
    .filter((name) => /\.(onnx|bin|data|onnx_data)$/.test(name))
    .reduce((sum, name) => sum + statSync(join(at, name)).size, 0)

/** What is left of each, by the files. */
const counts: Readonly<Record<string, () => Promise<number>>> = {
  params: async () => (await inspected(output)).parameters / (await inspected(example)).parameters,
  flops: async () =>
    (await inspected(output)).flopsPerToken / (await inspected(example)).flopsPerToken,
  size: async () => bytesOf(output) / bytesOf(example),
  kv: async () =>
    ((await inspected(join(output, 'model_with_past.onnx'))).cacheBytesPerToken ?? 0) /
    ((await inspected(withCache)).cacheBytesPerToken ?? 0),
}

/** Peak bytes of a run on the shape that targets are measured on. */
async function peakOf(at: string): Promise<number> {
  const ids = Array.from({ length: 256 }, (_, i) => (i * 37) % 2048)
  const feeds = {
    input_ids: tensorOf('int64', [1, 256], ids),
    attention_mask: tensorOf('int64', [1, 256], new Array(256).fill(1)),
  }
  const path = join(at, 'model.onnx')
  return (await measureMemory({ path, provider: 'cpu', threads: 1, feeds })).peakBytes
}

describe('a target that is counted', () => {
  it.each(['params', 'size', 'flops', 'kv'])(
    'is met by what is written: %s',
    async (kind) => {
      const { result, exitCode } = await prune([`${kind}=0.7x`])
      expect(exitCode).toBe(0)
      expect(result.targets).toMatchObject([{ target: `${kind}=0.7x`, met: true }])
      const left = (await counts[kind]?.()) ?? Number.NaN
      // The file has the graph beside the weights, which stays.
      expect(left).toBeLessThanOrEqual(kind === 'size' ? 0.71 : 0.7)
      expect(left).toBeGreaterThan(kind === 'kv' ? 0.4 : 0.68)
    },
    120_000,
  )

  it('may be one of several, and all are met', async () => {
    const { result, exitCode } = await prune(['params=0.9x', 'kv=0.7x', 'size=7MB', 'flops=0.8x'])
    expect(exitCode).toBe(0)
    expect(result.targets.map(({ met }) => met)).toEqual([true, true, true, true])
    expect(await counts['kv']?.()).toBeLessThanOrEqual(0.7)
    expect(await counts['flops']?.()).toBeLessThanOrEqual(0.8)
    expect(bytesOf(output)).toBeLessThan(7.1e6)
  }, 120_000)
})

describe('a target that is measured', () => {
  it('of memory is met by a process that runs what was written', async () => {
    const { result, exitCode } = await prune(['memory=0.8x@seq=256', 'params=0.9x'])
    const [memory] = result.targets
    expect(exitCode).toBe(0)
    expect(memory).toMatchObject({ met: true })
    expect(memory?.low).toBeLessThanOrEqual(memory?.share ?? 0)
    expect(memory?.high).toBeGreaterThanOrEqual(memory?.share ?? 1)
    // Another process, other threads: less, and clearly so.
    expect((await peakOf(output)) / (await peakOf(example))).toBeLessThan(0.9)
  }, 240_000)

  it.each([
    ['memory=0.01x@seq=16', /^The nearest that can be reached: memory=0\.\d+x@seq=16\.$/],
    ['throughput=90x@batch=2,seq=16', /reached: throughput=\d+(\.\d+)?x@batch=2,seq=16\.$/],
    ['latency=0.001x@seq=16', /reached: latency=0\.\d+x@seq=16\.$/],
  ])(
    'and can’t be reached is refused with the nearest: %s',
    async (target, nearest) => {
      // With data, which would be read and measured first if it were not refused before.
      const data = ['--data', join(example, 'calibration.txt'), '--text-mode', 'paragraphs']
      const { result, exitCode } = await prune([target, 'params=0.95x'], data)
      expect(exitCode).toBe(6)
      expect(result.error?.code).toBe('TARGET_UNREACHABLE')
      expect(result.error?.suggestions[0]).toMatch(nearest)
      expect(readdirSync(folder)).toEqual([])
    },
    240_000,
  )
})
