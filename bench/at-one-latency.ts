/**
 * Quality at one latency: a model cut alike in every layer at some ratios, and cut to some shares of its time.
 * All are timed in turns at the end, by the processor's clock: only what stands in one column is comparable.
 * Usage: npx tsx bench/at-one-latency.ts [--model tiny-stories] [--ratios 0.2,0.35] [--targets 0.8,0.7] [--length 256]
 *   [--seconds 60] [--threads 1] [--amp JSON] [--calibration JSON] [--json FILE]
 */
import { writeFileSync } from 'node:fs'
import { cpus, loadavg } from 'node:os'
import { resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { amp } from '../passes/amp/index.js'
import type { AmpOptions } from '../passes/amp/options.js'
import { inputsOf } from '../src/bench/bench.js'
import { pairedRatio } from '../src/bench/statistics.js'
import { calibrate } from '../src/calibrate/calibrate.js'
import { evaluate } from '../src/evaluate/evaluate.js'
import { silentLog } from '../src/log.js'
import { type LoadedModel, loadModel } from '../src/model-folder/load.js'
import type { Plan } from '../src/plan/plan.js'
import { cutCopy } from '../src/prune/costs.js'
import { decidePlan } from '../src/prune/decide.js'
import { parseTargets } from '../src/prune/target.js'
import { materialise } from '../src/runtime/materialise.js'
import { openSession } from '../src/runtime/session.js'
import { type Case, findCases, type Part, readPart } from './cases.js'

const { values: flags } = parseArgs({
  options: {
    model: { type: 'string', default: 'tiny-stories' },
    ratios: { type: 'string', default: '0.2,0.35,0.5' },
    targets: { type: 'string', default: '0.85,0.8,0.75,0.65,0.55' },
    length: { type: 'string', default: '256' },
    seconds: { type: 'string', default: '60' },
    threads: { type: 'string' },
    amp: { type: 'string', default: '{}' },
    calibration: { type: 'string', default: '{}' },
    shared: { type: 'string', default: '../shared' },
    built: { type: 'string', default: '../built' },
    json: { type: 'string' },
  },
})
const say = (text: string): boolean => process.stdout.write(`${text}\n`)
const common = {
  log: { ...silentLog, info: say },
  single: true,
  threads: flags.threads === undefined ? undefined : Number(flags.threads),
} as const
const shape = { batchSize: 1, sequenceLength: Number(flags.length) }
const own = JSON.parse(flags.amp) as Partial<AmpOptions>

const [each] = findCases({
  shared: resolve(flags.shared),
  built: flags.built,
  wanted: [flags.model],
}).filter(({ name }) => name === flags.model)
if (!each) throw new Error(`There is no case "${flags.model}".`)
const part: Part = { ...each.calibration, ...(JSON.parse(flags.calibration) as Partial<Part>) }
const source = loadModel(each.model)
const batches = readPart(source, part)
const calibration = await calibrate(source.model, { ...common, batches, moments: true })

const cutBy = ({ parts }: Plan): LoadedModel => cutCopy({ source, single: true, parts })

async function judge({ evaluation, metrics }: Case, plan: Plan): Promise<number> {
  const { model } = cutBy(plan)
  const reference = loadModel(source.path).model
  const found = await evaluate(model, {
    ...common,
    batches: readPart(source, evaluation),
    metrics,
    reference,
  })
  return found[0]?.value ?? Number.NaN
}

const kept = ({ parts }: Plan): string =>
  parts
    .flatMap(({ slices = [] }) => slices)
    .map(({ dimension, remove }) => `${dimension} −${remove.length}`)
    .join(', ')

interface Point {
  readonly name: string
  readonly plan: Plan
  readonly quality: number
}

const given = { ...common, source, batches, calibration }
const points: Point[] = []
const add = async (name: string, plan: Plan): Promise<void> => {
  const quality = await judge(each, plan)
  points.push({ name, plan, quality })
  say(`${name}: ${quality.toFixed(3)}, ${kept(plan)}`)
}
for (const ratio of flags.ratios.split(',').map(Number)) {
  const passes = [amp({ ...own, allocation: 'uniform', ratio })]
  await add(`uniform ${ratio}`, (await decidePlan({ ...given, passes })).plan)
}
for (const share of flags.targets.split(',')) {
  const text = `latency=${share}x@batch=1,seq=${flags.length}`
  const { plan } = await decidePlan({
    ...given,
    passes: [amp(own)],
    targets: parseTargets([text]),
  })
  await add(`latency ${share}`, plan)
}

/** All in turns, the original first. */
const files = points.map(({ plan }) => materialise(cutBy(plan).model))
const models = points.map(({ plan }, i) => ({ ...cutBy(plan), path: files[i]?.path ?? '' }))
const seconds = Number(flags.seconds)
const times = await timeInTurns([source, ...models], { ...shape, seconds })
for (const file of files) file.dispose()
const rows = points.map(({ name, quality }, index) => {
  const ratio = pairedRatio(times[0] ?? [], times[index + 1] ?? [], 0)
  const text = [ratio.ratio, ratio.low, ratio.high].map((each) => each.toFixed(3)).join(' ')
  say(`| ${name} | ${quality.toFixed(3)} | ${text} |`)
  return { name, quality, ratio }
})
const machine = `${cpus()[0]?.model}, ${cpus().length} threads`
say(`${times[0]?.length} turns, load ${loadavg()[0]?.toFixed(1)}, ${machine}`)
if (flags.json)
  writeFileSync(flags.json, `${JSON.stringify({ machine, model: flags.model, rows }, null, 2)}\n`)

/** Processor time of each model in each turn: what else runs on the machine is not in it. */
async function timeInTurns(
  models: readonly LoadedModel[],
  { seconds, ...size }: typeof shape & { readonly seconds: number },
): Promise<number[][]> {
  const times: number[][] = models.map(() => [])
  const feeds = (await inputsOf(source, Number.POSITIVE_INFINITY, { ...common, ...size })).feeds
  const sessions = await Promise.all(
    models.map(({ path }) => openSession({ ...common, path, provider: 'cpu', takesTurns: true })),
  )
  const end = performance.now() + 1000 * seconds
  for (let turn = -3; turn < 10 || performance.now() < end; turn++)
    for (const [index, session] of sessions.entries()) {
      const before = process.cpuUsage()
      await session.run(feeds)
      const { user, system } = process.cpuUsage(before)
      if (turn >= 0) times[index]?.push((user + system) / 1000)
    }
  for (const session of sessions) await session.close()
  return times
}
