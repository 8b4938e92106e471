/**
 * Learned masks beside AMP at equal parameters: quality of the dense model, of the model that the masks
 * leave (with their means folded, and re-fitted), of what the error of each block leaves, each before and
 * after means are learned on top and with its loss on held-out data, and of AMP's.
 *
 *   npx tsc --outDir dist && node dist/bench/learned-masks.js --model FOLDER --data FILE --eval FILE
 *     [--ratios 0.3,0.5] [--with masks,ridge,error,amp,amp-text] [--provider auto] [--updates 400] [--batch-size N]
 *     [--length 512] [--samples N] [--eval-length 1024] [--eval-tokens 16384] [--start-token ID]
 *     [--rate 0.1] [--noise=-5] [--bottleneck 1] [--warmup 0.3] [--teacher-share 0.8] [--settle 0.25]
 *     [--recite WINDOWS] [--round-to 1] [--structures heads,width] [--seeds 0] [--plans FOLDER]
 *     [--ratio-of parameters] [--values]
 *
 * With a start token, texts are read as paragraphs that each begin with it. `amp-text`: AMP with what the
 * masks' re-fit is given, made-up text as well. With `--values` members of values may go by the error of blocks.
 */
import { mkdirSync, writeFileSync } from 'node:fs'
import { cpus } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { decideAmp } from '../passes/amp/decide.js'
import { ampDefaults } from '../passes/amp/options.js'
import { cutByError, cutByMasks } from '../passes/vtrans/candidates.js'
import { learnMasks } from '../passes/vtrans/learn.js'
import { type Structure, type Target, vtransDefaults } from '../passes/vtrans/options.js'
import { settleMeans } from '../passes/vtrans/settle.js'
import { chooseSources } from '../passes/vtrans/text.js'
import { calibrate } from '../src/calibrate/calibrate.js'
import type { Batch } from '../src/data/batch.js'
import { openData } from '../src/data/open-data.js'
import { defaultMetric, evaluate } from '../src/evaluate/evaluate.js'
import { countParameters } from '../src/inspect/parameters.js'
import { readModel } from '../src/model/model.js'
import { loadModel } from '../src/model-folder/load.js'
import { applyPart } from '../src/plan/apply.js'
import type { PlanPart } from '../src/plan/plan.js'
import { planFiles } from '../src/plan/plan-file.js'
import { linkCudaLibraries } from '../src/runtime/cuda-libraries.js'
import { chooseProvider, type ProviderName } from '../src/runtime/provider.js'

const { values: flags } = parseArgs({
  options: {
    model: { type: 'string', default: '' },
    data: { type: 'string', default: '' },
    eval: { type: 'string', default: '' },
    ratios: { type: 'string', default: '0.3,0.5' },
    with: { type: 'string', default: 'masks' },
    provider: { type: 'string', default: 'auto' },
    threads: { type: 'string' },
    updates: { type: 'string', default: '400' },
    'batch-size': { type: 'string' },
    length: { type: 'string', default: '512' },
    samples: { type: 'string' },
    'eval-length': { type: 'string', default: '1024' },
    'eval-tokens': { type: 'string', default: '16384' },
    'start-token': { type: 'string' },
    rate: { type: 'string', default: String(vtransDefaults.rate) },
    noise: { type: 'string', default: String(vtransDefaults.noise) },
    bottleneck: { type: 'string', default: String(vtransDefaults.bottleneck) },
    warmup: { type: 'string', default: String(vtransDefaults.warmup) },
    settle: { type: 'string', default: String(vtransDefaults.settle) },
    recite: { type: 'string' },
    'teacher-share': { type: 'string', default: String(vtransDefaults.teacherShare) },
    'round-to': { type: 'string', default: '1' },
    structures: { type: 'string', default: vtransDefaults.structures.join() },
    seeds: { type: 'string', default: '0' },
    plans: { type: 'string' },
    'ratio-of': { type: 'string', default: vtransDefaults.target },
    values: { type: 'boolean' },
  },
})
const print = (line: string): unknown => process.stdout.write(`${line}\n`)
const started = performance.now()
const seconds = (): string => `${Math.round((performance.now() - started) / 100) / 10} s`

for (const linked of linkCudaLibraries()) print(`linked ${linked}`)
const provider = await chooseProvider(flags.provider as 'auto' | ProviderName)
for (const { provider: name, reason } of provider.passedOver)
  print(`${name} passed over: ${reason}`)
print(`${provider.name} · ${cpus()[0]?.model}, ${cpus().length} threads · ${JSON.stringify(flags)}`)

let said = 0
const log = {
  info: print,
  warn: (code: string, text: string) => print(`${code}: ${text}`),
  progress(step: string, done: number, total: number, detail?: string) {
    if (performance.now() - said < 5000 && done < total) return
    said = performance.now()
    print(`  ${step} ${done}/${total} ${detail ?? ''} (${seconds()})`)
  },
}
const threads = flags.threads === undefined ? undefined : Number(flags.threads)
const run = { provider: provider.name, log, threads }
const source = loadModel(flags.model)
const { model, folder } = source
const asked = flags.with.split(',')

function open(path: string, sequenceLength: number, limits: object): Batch[] {
  const start = flags['start-token']
  const paragraphs = { textMode: 'paragraphs', startToken: Number(start) } as const
  return openData(path, {
    model,
    folder,
    sequenceLength,
    batchSize: path.endsWith('.txt') ? Math.max(1, Math.floor(4096 / sequenceLength)) : 64,
    ...(start === undefined ? {} : paragraphs),
    ...limits,
  })
}

const batches = open(flags.data, Number(flags.length), {
  samples: flags.samples === undefined ? undefined : Number(flags.samples),
})
const judges = open(flags.eval, Number(flags['eval-length']), {
  tokens: flags['start-token'] === undefined ? Number(flags['eval-tokens']) : undefined,
})
const metric = defaultMetric(model, judges, true)

async function judge(name: string, part: PlanPart): Promise<void> {
  const pruned = loadModel(flags.model).model
  applyPart(pruned.graph, part)
  const [found] = await evaluate(pruned, { ...run, batches: judges, metrics: [metric] })
  const parameters = countParameters(readModel(pruned.graph).analysis)
  print(`${name}: ${metric} ${found?.value.toFixed(4)}, ${parameters} parameters (${seconds()})`)
  if (!flags.plans) return
  mkdirSync(flags.plans, { recursive: true })
  const files = planFiles({ parts: [part] }, name.replaceAll(/[^\w.]+/g, '-'))
  for (const [file, content] of Object.entries(files))
    writeFileSync(join(flags.plans, file), content)
}

const view = readModel(model.graph)
await judge('dense', { slices: [] })
const withText = asked.some((each) => each !== 'amp')
for (const ratio of flags.ratios.split(',').map(Number)) {
  if (asked.includes('amp')) await judgeAmp(`amp ${ratio}`, ratio, batches)
  for (const seed of withText ? flags.seeds.split(',').map(Number) : []) {
    const options = {
      ...vtransDefaults,
      ratio,
      updates: Number(flags.updates),
      batchSize: optional(flags['batch-size']),
      rate: Number(flags.rate),
      noise: Number(flags.noise),
      bottleneck: Number(flags.bottleneck),
      warmup: Number(flags.warmup),
      settle: Number(flags.settle),
      recite: optional(flags.recite),
      teacherShare: Number(flags['teacher-share']),
      roundTo: Number(flags['round-to']),
      structures: flags.structures.split(',') as Structure[],
      target: flags['ratio-of'] as Target,
      seed,
    }
    const context = { ...run, source, single: false, view }
    const sources = await chooseSources(context, { batches, all: batches }, options)
    const { training, heldOut, text, fitting } = sources
    const made = text.reduce((sum, { ids }) => sum + ids.length, 0)
    print(`${made} windows made up (${seconds()})`)
    if (asked.includes('amp-text')) await judgeAmp(`amp with that text ${ratio}`, ratio, fitting)
    const makers = [
      ['masks', { ...options, recover: 'none' as const }, cutByMasks],
      ['ridge', options, cutByMasks],
      ['error', options, cutByError],
    ] as const
    const wanted = makers.filter(([name]) => asked.includes(name))
    if (wanted.length === 0) continue
    const input = {
      ...run,
      model,
      view,
      batches: fitting,
      training: [...training, ...text],
      heldOut,
      hasCache: flags.values !== true,
    }
    const teaching = { ...input, batches: input.training }
    const learned = await learnMasks(teaching, options)
    for (const [name, own, make] of wanted) {
      const cut = await make(input, learned, own)
      if (!cut) continue
      const title = `${cut.by}, ${name === 'masks' ? 'means folded' : 're-fitted'} ${ratio}, seed ${seed}`
      await judge(title, cut)
      const { projections, before, best, kept } = await settleMeans(teaching, cut, own)
      print(`held out ${before?.toFixed(4)}, ${best?.toFixed(4)} with means of update ${kept}`)
      await judge(`${title}, means on top`, { ...cut, projections })
    }
  }
}

async function judgeAmp(name: string, ratio: number, own: readonly Batch[]): Promise<void> {
  const calibration = await calibrate(model, { ...run, batches: own, moments: true })
  const options = { ...ampDefaults, ratio, roundTo: Number(flags['round-to']) }
  await judge(name, await decideAmp({ ...run, model, view, calibration, batches: own }, options))
}

function optional(text: string | undefined): number | undefined {
  return text === undefined ? undefined : Number(text)
}
