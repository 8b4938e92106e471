/**
 * Fewer bits beside fewer heads, in one table: quality, bytes and times of a model as it is, in 8 and in 4
 * bits, pruned, and pruned and in 4 bits. Times of all are taken in turns on the same machine.
 * Usage: npx tsx bench/quantized.ts --models tiny-stories,minilm,smollm2 [--ratio 0.2] [--only 'dense;int4'] [--length 128] [--json FILE]
 */
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { cpus, tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { amp } from '../passes/amp/index.js'
import { quantize } from '../passes/quantize/index.js'
import { bench } from '../src/bench/bench.js'
import { evaluate } from '../src/evaluate/evaluate.js'
import { countBytes } from '../src/inspect/inspect.js'
import { silentLog } from '../src/log.js'
import { type LoadedModel, loadModel } from '../src/model-folder/load.js'
import type { ChosenPass } from '../src/plan/pass.js'
import type { Plan } from '../src/plan/plan.js'
import { applyToFolder } from '../src/prune/apply-to-folder.js'
import { decidePlan } from '../src/prune/decide.js'
import { type Case, findCases, readPart } from './cases.js'

const { values: flags } = parseArgs({
  options: {
    models: { type: 'string', default: 'tiny-stories' },
    ratio: { type: 'string', default: '0.2' },
    only: { type: 'string' },
    length: { type: 'string', default: '128' },
    seconds: { type: 'string', default: '60' },
    shared: { type: 'string', default: '../shared' },
    built: { type: 'string', default: '../built' },
    json: { type: 'string' },
  },
})
const say = (text: string): boolean => process.stdout.write(`${text}\n`)
const common = { provider: 'cpu', log: silentLog } as const
const percent = `${Number(flags.ratio) * 100} %`

interface Variant {
  readonly name: string
  readonly passes: readonly ChosenPass[]
  /** Takes the first part of what this one decided. */
  readonly firstOf?: string
}

const pruned = `AMP ${percent}`
const variants: readonly Variant[] = [
  { name: 'dense', passes: [] },
  { name: 'int8', passes: [quantize({ precision: 'int8', rounding: 'nearest' })] },
  { name: 'qdq', passes: [quantize({ precision: 'qdq' })] },
  { name: 'int4 nearest', passes: [quantize({ rounding: 'nearest' })] },
  { name: 'int4', passes: [quantize()] },
  { name: 'int4, blocks of 128', passes: [quantize({ block: 128 })] },
  { name: pruned, passes: [amp({ ratio: Number(flags.ratio) })] },
  {
    name: `${pruned} + int8`,
    passes: [quantize({ precision: 'int8', rounding: 'nearest' })],
    firstOf: pruned,
  },
  {
    name: `${pruned} + int4 nearest`,
    passes: [quantize({ rounding: 'nearest' })],
    firstOf: pruned,
  },
  { name: `${pruned} + int4`, passes: [quantize()], firstOf: pruned },
]

async function planOf(
  each: Case,
  { name, passes, firstOf }: Variant,
  known: ReadonlyMap<string, Plan>,
) {
  const source = loadModel(each.model)
  const batches = readPart(source, each.calibration)
  const before = firstOf === undefined ? [] : (known.get(firstOf)?.parts.slice(0, 1) ?? [])
  if (firstOf !== undefined && before.length === 0) return undefined
  const started = performance.now()
  const replayed: ChosenPass[] = before.map((part) => ({
    name: 'replayed',
    phase: 'cut',
    decide: async () => part,
  }))
  const { plan } = await decidePlan({
    ...common,
    source,
    batches,
    passes: [...replayed, ...passes],
    single: true,
  })
  const seconds = (performance.now() - started) / 1000
  say(`${each.name}, ${name}: decided in ${seconds.toFixed(0)} s`)
  return { plan, seconds }
}

async function measure(each: Case): Promise<object[]> {
  if (!existsSync(each.model)) {
    say(`${each.name}: left out, there is no ${each.model}`)
    return []
  }
  const only = flags.only?.split(';')
  const folder = mkdtempSync(join(tmpdir(), 'attnc-quantized-'))
  const rows: { name: string; quality: number[]; bytes: number; seconds: number }[] = []
  const models: LoadedModel[] = []
  const plans = new Map<string, Plan>()
  try {
    for (const [index, variant] of variants.entries()) {
      if (only && !only.includes(variant.name)) continue
      const decided = await planOf(each, variant, plans)
      if (!decided) continue
      plans.set(variant.name, decided.plan)
      const output = join(folder, String(index))
      const source = loadModel(each.model)
      const check = { largest: 0, bound: 0 }
      await applyToFolder({ ...common, source, plan: decided.plan, output, check, single: false })
      const made = loadModel(join(output, source.file))
      const measured = await evaluate(made.model, {
        ...common,
        batches: readPart(made, each.evaluation),
        metrics: each.metrics,
        reference: loadModel(each.model).model,
      })
      models.push(made)
      const quality = measured.map(({ value }) => value)
      rows.push({
        name: variant.name,
        quality,
        bytes: countBytes(made.model),
        seconds: decided.seconds,
      })
      say(`${each.name}, ${variant.name}: ${quality.map((value) => value.toFixed(4)).join(' / ')}`)
    }
    const sequenceLength = Number(flags.length)
    const seconds = Number(flags.seconds)
    const timed = await bench(models, { ...common, sequenceLength, seconds, memory: false })
    return rows.map((row, index) => {
      const { prefill, decode } = timed.models[index] as (typeof timed.models)[number]
      const { quality, bytes, name } = row
      const first = timed.models[0]
      say(
        `| ${name} | ${quality.map((value) => value.toPrecision(4)).join(' / ')} | ${(bytes / 1e6).toFixed(2)} MB | ${prefill.median.toFixed(2)} ms (${(prefill.median / (first?.prefill.median ?? 1)).toFixed(2)}) | ${decode ? `${decode.median.toFixed(2)} ms (${(decode.median / (first?.decode?.median ?? 1)).toFixed(2)})` : '–'} | ${row.seconds.toFixed(0)} s |`,
      )
      return { model: each.name, ...row, prefill, decode }
    })
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

const wanted = flags.models.split(',')
const results: object[] = []
for (const each of findCases({ shared: resolve(flags.shared), built: flags.built, wanted }))
  if (wanted.includes(each.name)) results.push(...(await measure(each)))
if (flags.json)
  writeFileSync(
    flags.json,
    `${JSON.stringify({ machine: `${cpus()[0]?.model}, ${cpus().length} threads`, ratio: flags.ratio, results }, null, 2)}\n`,
  )
