/**
 * Real models pruned and measured: quality, parameters, bytes and the time attnc took, at each ratio.
 * Usage: npm run bench:models -- [--models a,b] [--ratios 0.1,0.2] [--provider cuda] [--built FOLDER] [--amp JSON] [--json FILE]
 * SmolLM2 and MiniLM are looked for, and built by their build.py where that works, under `--built`
 * (default ../built); what is absent is said and left out. Every protocol is that of the model's README.
 */
import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { cpus } from 'node:os'
import { basename, join, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { amp } from '../passes/amp/index.js'
import type { AmpOptions } from '../passes/amp/options.js'
import { type Calibration, calibrate } from '../src/calibrate/calibrate.js'
import type { Batch } from '../src/data/batch.js'
import { type DataOptions, openData } from '../src/data/open-data.js'
import { evaluate } from '../src/evaluate/evaluate.js'
import type { MetricName } from '../src/evaluate/metric-name.js'
import type { Log } from '../src/log.js'
import { type LoadedModel, loadModel } from '../src/model-folder/load.js'
import { applyToFolder } from '../src/prune/apply-to-folder.js'
import { prune } from '../src/prune/prune.js'
import type { ProviderName } from '../src/runtime/provider.js'

const { values: flags } = parseArgs({
  options: {
    models: { type: 'string' },
    ratios: { type: 'string' },
    shared: { type: 'string', default: '../shared' },
    built: { type: 'string', default: '../built' },
    amp: { type: 'string', default: '{}' },
    calibration: { type: 'string' },
    evaluation: { type: 'string' },
    json: { type: 'string' },
    verbose: { type: 'boolean', default: false },
    dense: { type: 'boolean', default: false },
    threads: { type: 'string' },
    provider: { type: 'string', default: 'cpu' },
  },
})
const say = (text: string): boolean => process.stdout.write(`${text}\n`)
const shared = resolve(flags.shared)
const run = {
  threads: flags.threads === undefined ? undefined : Number(flags.threads),
  provider: flags.provider as ProviderName,
}

interface Part extends Partial<DataOptions> {
  readonly path: string
}

interface Case {
  readonly name: string
  readonly model: string
  readonly calibration: Part
  readonly evaluation: Part
  readonly metrics: readonly MetricName[]
  readonly ratios: readonly number[]
  /** What issue 3 asks for, in the order of `metrics`, by ratio. */
  readonly goals: Readonly<Record<string, readonly number[]>>
}

const inShared = (path: string): string => join(shared, path)
const wikitext = (part: 'test' | 'valid'): string => inShared(`data/wikitext-2.${part}.txt`)
const small = (name: string, metrics: readonly MetricName[]): Case => ({
  name,
  model: inShared(`models/${name}/model.onnx`),
  calibration: { path: inShared(`models/${name}/calibration.npz`), batchSize: 64 },
  evaluation: { path: inShared(`models/${name}/eval.npz`), batchSize: 100 },
  metrics,
  ratios: [0.1, 0.2, 0.3, 0.5],
  goals: {},
})
const story = { sequenceLength: 256, textMode: 'paragraphs', startToken: 0 } as const

const cases: readonly Case[] = [
  {
    name: 'tiny-stories',
    model: inShared('models/tiny-stories/model.onnx'),
    calibration: { path: inShared('models/tiny-stories/calibration.txt'), ...story },
    evaluation: { path: inShared('models/tiny-stories/eval.txt'), ...story },
    metrics: ['perplexity'],
    ratios: [0.1, 0.2, 0.3, 0.5],
    goals: { 0.1: [7.05], 0.2: [7.9], 0.3: [9.3], 0.5: [17] },
  },
  {
    name: 'minilm',
    model: join(built('minilm'), 'model.onnx'),
    calibration: {
      path: wikitext('test'),
      textMode: 'sentences',
      sequenceLength: 128,
      batchSize: 32,
      samples: 2048,
    },
    evaluation: {
      path: wikitext('valid'),
      textMode: 'sentences',
      sequenceLength: 128,
      batchSize: 32,
      samples: 2000,
    },
    metrics: ['cosine', 'top10'],
    ratios: [0.2, 0.3, 0.5],
    goals: { 0.2: [0.975, 0.85], 0.3: [0.955, 0.8], 0.5: [0.88, 0.68] },
  },
  small('digits-vit', ['accuracy']),
  small('sasrec-video', ['ndcg@10', 'hit-rate@10']),
  {
    name: 'smollm2',
    model: join(built('smollm2'), 'model.onnx'),
    calibration: { path: wikitext('valid'), sequenceLength: 512, batchSize: 4, tokens: 32_768 },
    evaluation: { path: wikitext('test'), sequenceLength: 1024, batchSize: 1, tokens: 16_384 },
    metrics: ['perplexity'],
    ratios: [0.1, 0.2, 0.3, 0.5],
    goals: { 0.1: [21.5], 0.2: [24.3], 0.3: [27.8], 0.5: [40] },
  },
]

/** Where the built model is; made by its build.py where it is not there yet. */
function built(name: string): string {
  const folder = join(resolve(flags.built), name)
  const script = inShared(`models/${name}/build.py`)
  const isWanted = !flags.models || flags.models.split(',').includes(name)
  if (isWanted && !existsSync(folder) && existsSync(script))
    try {
      execFileSync('python3', [script, '--out', folder], { stdio: 'inherit' })
    } catch (error) {
      say(`${name} could not be built: ${(error as Error).message}`)
    }
  return folder
}

function read(source: LoadedModel, { path, ...options }: Part): Batch[] {
  return openData(path, { model: source.model, folder: source.folder, ...options })
}

/** Seconds between the last reports of each step. */
class Phases implements Log {
  readonly seconds: Record<string, number> = {}
  private last = performance.now()
  info(message: string): void {
    if (flags.verbose) say(message)
  }
  warn(code: string, message: string): void {
    say(`${code}: ${message}`)
  }
  progress(step: string): void {
    const now = performance.now()
    this.seconds[step] = (this.seconds[step] ?? 0) + (now - this.last) / 1000
    this.last = now
  }
}

async function measure(each: Case): Promise<object[]> {
  if (!existsSync(each.model)) {
    say(`${each.name}: left out, there is no ${each.model}`)
    return []
  }
  const chosen = JSON.parse(flags.amp) as Partial<AmpOptions>
  const ratios = flags.ratios?.split(',').map(Number) ?? each.ratios
  const part = (own: Part, text: string | undefined): Part => ({
    ...own,
    ...(JSON.parse(text ?? '{}') as Partial<Part>),
  })
  const rows: object[] = []
  if (flags.dense && !each.metrics.includes('cosine')) {
    const source = loadModel(each.model)
    const measured = await evaluate(source.model, {
      batches: read(source, part(each.evaluation, flags.evaluation)),
      metrics: each.metrics,
      log: new Phases(),
      ...run,
    })
    say(`${each.name} dense ${measured.map(({ value }) => value.toFixed(4)).join(' / ')}`)
  }
  // One calibration serves every ratio; its time stands in the first row.
  let calibration: Calibration | undefined
  for (const ratio of ratios) {
    const source = loadModel(each.model)
    const log = new Phases()
    const started = performance.now()
    const batches = read(source, part(each.calibration, flags.calibration))
    calibration ??= await calibrate(source.model, { ...run, batches, moments: true, log })
    const { plan } = await prune({
      source,
      calibration,
      batches,
      passes: [amp({ ...chosen, ratio })],
      single: true,
      ...run,
      log,
    })
    const seconds = (performance.now() - started) / 1000
    const pruned = loadModel(each.model)
    const { before, after } = await applyToFolder({
      source: pruned,
      plan,
      output: undefined,
      check: { largest: 0, bound: 0 },
      single: true,
      ...run,
      log,
    })
    const measured = await evaluate(pruned.model, {
      batches: read(source, part(each.evaluation, flags.evaluation)),
      metrics: each.metrics,
      reference: source.model,
      ...run,
      log,
    })
    const phases = Object.fromEntries(
      Object.entries(log.seconds).map(([step, time]) => [step, Math.round(time * 10) / 10]),
    )
    const quality = Object.fromEntries(measured.map(({ metric, value }) => [metric, value]))
    const row = { model: each.name, ratio, ...quality, before, after, seconds, phases }
    rows.push(row)
    const goal = each.goals[ratio]
    say(
      `${each.name} ${ratio * 100} %: ${measured.map(({ value }) => value.toFixed(4)).join(' / ')}` +
        `${goal ? ` (goal ${goal.join(' / ')})` : ''}, parameters ${before.parameters} → ${after.parameters}, ` +
        `${seconds.toFixed(0)} s, ${JSON.stringify(phases)}`,
    )
  }
  return rows
}

const wanted = flags.models?.split(',')
const results: object[] = []
for (const each of cases)
  if (!wanted || wanted.includes(each.name)) results.push(...(await measure(each)))
if (flags.json)
  writeFileSync(
    flags.json,
    `${JSON.stringify(
      {
        date: new Date().toISOString().slice(0, 10),
        machine: `${cpus()[0]?.model}, ${cpus().length} threads`,
        version: JSON.parse(readFileSync('package.json', 'utf8')).version as string,
        script: basename(import.meta.url),
        results,
      },
      null,
      2,
    )}\n`,
  )
