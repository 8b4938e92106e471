/** What a pruned folder takes beside the original, in turns: time, memory, bytes. For bench/models.ts. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type BenchResult, bench } from '../src/bench/bench.js'
import type { Spread } from '../src/bench/statistics.js'
import { loadModel } from '../src/model-folder/load.js'
import type { Plan } from '../src/plan/plan.js'
import { applyToFolder } from '../src/prune/apply-to-folder.js'
import type { RunOptions } from '../src/runtime/batches.js'

/** The plan carried out on all models of the folder, in a folder of its own that is removed again. */
export async function measureCosts(
  model: string,
  plan: Plan,
  options: RunOptions,
): Promise<BenchResult> {
  const folder = mkdtempSync(join(tmpdir(), 'attnc-costs-'))
  try {
    const source = loadModel(model)
    const output = join(folder, 'pruned')
    const check = { largest: 0, bound: 0 }
    await applyToFolder({ ...options, source, plan, output, check, single: false })
    return await bench([loadModel(model), loadModel(output)], { ...options, seconds: 30 })
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

export const costsHeader = `| model, share removed | parameters | bytes | prefill, ms | decode, ms a token | peak memory, MB |
|---|---|---|---|---|---|`

/** A row of Markdown: after ÷ before, and both. */
export function describeCosts(name: string, { models, ratios }: BenchResult): string {
  const [before, after] = models
  if (!before || !after || !ratios) return ''
  const times = (a: Spread | null, b: Spread | null, ratio: { ratio: number } | null): string =>
    a && b && ratio
      ? `${a.median.toPrecision(3)} → ${b.median.toPrecision(3)} (${ratio.ratio.toFixed(3)})`
      : '–'
  const amounts = (a: number, b: number, unit: number): string =>
    `${(a / unit).toPrecision(4)} → ${(b / unit).toPrecision(4)}`
  const memory =
    before.memory && after.memory
      ? amounts(before.memory.peakBytes, after.memory.peakBytes, 1e6)
      : '–'
  const cells = [
    name,
    `${amounts(before.parameters, after.parameters, 1e6)} M`,
    `${amounts(before.bytes, after.bytes, 1e6)} MB`,
    times(before.prefill, after.prefill, ratios.prefill),
    times(before.decode, after.decode, ratios.decode),
    memory,
  ]
  return `| ${cells.join(' | ')} |`
}
