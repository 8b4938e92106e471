/**
 * Real models pruned and measured: quality, parameters, bytes and the time attnc took, at each ratio.
 * Usage: npm run bench:models -- [--models a,b] [--ratios 0.1,0.2] [--provider cuda] [--built FOLDER] [--amp JSON] [--json FILE]
 *   [--timed] also times the pruned folder beside the original; [--unjudged] leaves the quality out
 * SmolLM2 and MiniLM are looked for, and built by their build.py where that works, under `--built`
 * (default ../built); what is absent is said and left out. Every protocol is that of the model's README.
 */
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { cpus } from 'node:os'
import { basename, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { amp } from '../passes/amp/index.js'
import type { AmpOptions } from '../passes/amp/options.js'
import { calibrate } from '../src/calibrate/calibrate.js'
import type { Calibration } from '../src/calibrate/state.js'
import { evaluate } from '../src/evaluate/evaluate.js'
import type { Log } from '../src/log.js'
import { loadModel } from '../src/model-folder/load.js'
import { applyToFolder } from '../src/prune/apply-to-folder.js'
import { prune } from '../src/prune/prune.js'
import type { ProviderName } from '../src/runtime/provider.js'
import { type Case, findCases, type Part, readPart } from './cases.js'
import { costsHeader, describeCosts, measureCosts } from './model-costs.js'

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
    timed: { type: 'boolean', default: false },
    unjudged: { type: 'boolean', default: false },
    threads: { type: 'string' },
    provider: { type: 'string', default: 'cpu' },
  },
})
const say = (text: string): boolean => process.stdout.write(`${text}\n`)
const run = {
  threads: flags.threads === undefined ? undefined : Number(flags.threads),
  provider: flags.provider as ProviderName,
}

/** Seconds between the last reports of each step. */
class Phases implements Log {
  readonly seconds: Record<string, number> = {}
  private last = performance.now()
  private step = ''
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
    if (flags.verbose && step !== this.step) say(`${(now / 1000).toFixed(0)} s: ${step}`)
    this.step = step
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
      batches: readPart(source, part(each.evaluation, flags.evaluation)),
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
    const batches = readPart(source, part(each.calibration, flags.calibration))
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
    if (flags.timed) {
      const costs = await measureCosts(each.model, plan, { ...run, log })
      timed.push(describeCosts(`${each.name}, ${ratio * 100} %`, costs))
      rows.push({ model: each.name, ratio, seconds, costs })
    }
    if (flags.unjudged) continue
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
      batches: readPart(source, part(each.evaluation, flags.evaluation)),
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

const timed: string[] = []
const wanted = flags.models?.split(',')
const cases = findCases({ shared: resolve(flags.shared), built: flags.built, wanted })
const results: object[] = []
for (const each of cases)
  if (!wanted || wanted.includes(each.name)) results.push(...(await measure(each)))
if (timed.length > 0) say([costsHeader, ...timed].join('\n'))
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
