/**
 * Models damaged at random, through the whole library: an end with a code or a saved model that keeps the
 * law; no crash, no hang, nothing half written. `ATTNC_FUZZ_SEEDS=5000` tries more, `ATTNC_FUZZ_FIRST=7`
 * starts elsewhere. A fault is named by its seed: `npx tsx test/fuzz/run.ts SEED 1 FILE …` repeats it.
 */
import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { expect, test } from 'vitest'

const count = Number(process.env['ATTNC_FUZZ_SEEDS'] ?? 80)
const first = Number(process.env['ATTNC_FUZZ_FIRST'] ?? 0)

/** Beside the built graphs: one of each kind of graph that exporters and optimisers write. */
const files = [
  'bert-ts',
  'llama-past-dyn',
  't5-dyn',
  'bert-nbits',
  'bert-qdq',
  'llama-op23',
  'mixtral-dyn',
  'modernbert-ts',
].map((name) => join('../shared/models/zoo', name, 'model.onnx'))

/** A process that says nothing for so long hangs, on the slowest machine too. */
const silenceMs = 120_000

interface Line {
  readonly seed?: number
  readonly fault?: string
  readonly codes?: Readonly<Record<string, number>>
}

function run(): Promise<{ readonly lines: readonly Line[]; readonly end: string }> {
  const lines: Line[] = []
  const child = spawn(
    process.execPath,
    ['--import', 'tsx', 'test/fuzz/run.ts', String(first), String(count), ...files],
    { stdio: ['ignore', 'pipe', 'pipe'] },
  )
  let errors = ''
  child.stderr.on('data', (text) => {
    errors += text
  })
  let timer = setTimeout(() => child.kill('SIGKILL'), silenceMs)
  createInterface(child.stdout).on('line', (text) => {
    clearTimeout(timer)
    timer = setTimeout(() => child.kill('SIGKILL'), silenceMs)
    lines.push(JSON.parse(text) as Line)
  })
  return new Promise((resolve) => {
    child.on('close', (code, signal) => {
      clearTimeout(timer)
      resolve({ lines, end: code === 0 ? 'ended' : `${signal ?? code}: ${errors}` })
    })
  })
}

if (!existsSync(files[0] as string))
  process.stdout.write('fuzz: ../shared/models/zoo is absent, so only built graphs are damaged\n')

test(`${count} damaged models end with a code or as a lawful model`, {
  timeout: silenceMs + count * 5_000,
}, async () => {
  const { lines, end } = await run()
  expect(lines.filter((line) => line.fault)).toEqual([])
  expect(end, `after ${JSON.stringify(lines.at(-1))}`).toBe('ended')
  const codes = lines.at(-1)?.codes ?? {}
  expect(Object.values(codes).reduce((sum, each) => sum + each, 0)).toBe(count)
  // The damage is neither so small that all survive nor so great that none does.
  expect(codes['SAVED']).toBeGreaterThan(count / 10)
  expect(Object.keys(codes).length).toBeGreaterThan(4)
})
