/**
 * What recovery gives back to a pruned language model, and what the same training gives to the dense
 * one: perplexity of both, before and after, on a text of the kind that was trained on and on another.
 *
 *   npx tsc --outDir dist && node dist/bench/recovery.js --dense FOLDER [--pruned FOLDER] --train FILE
 *     --test FILE --other FILE [--provider cuda] [--method lora|full] [--updates 400] [--batch-size 8]
 *     [--length 512] [--rank 32] [--rate 1e-3] [--teacher-share 0.5] [--recite 0] [--recited FILE,…] [--samples N]
 *     [--test-tokens 65536] [--window 1024] [--without dense]
 *     [--roles attention,feedForward,…] [--warmup 20] [--seed 0]
 *     [--temperatures 1] [--precision float32|float16] [--json FILE] [--together FOLDER,RANK,COUNT,EVERY]
 *
 * `--together`: one of several such runs at a time, each on its share of the batches, that average what they learn in a folder.
 * `--without`: measurements that are left out, of `pruned` and `dense`.
 *
 * The teacher is the dense model, for itself too. The last tenth of the training text is held out, and two
 * batches of what was made up.
 */
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { cpus } from 'node:os'
import { parseArgs } from 'node:util'
import { type Batch, makeTokenBatch } from '../src/data/batch.js'
import { openData, portsOf } from '../src/data/open-data.js'
import { evaluate } from '../src/evaluate/evaluate.js'
import { recite } from '../src/generate/recite.js'
import { edit } from '../src/graph/edit.js'
import type { Model, Value } from '../src/graph/graph.js'
import { readModel } from '../src/model/model.js'
import { type LoadedModel, loadModel } from '../src/model-folder/load.js'
import { linkCudaLibraries } from '../src/runtime/cuda-libraries.js'
import { chooseProvider, type ProviderName } from '../src/runtime/provider.js'
import { train } from '../src/train/train.js'
import type { Precision } from '../src/train/training-graph.js'
import type { WeightRole } from '../src/train/weights/weight-role.js'

const { values: flags } = parseArgs({
  options: {
    dense: { type: 'string', default: '' },
    pruned: { type: 'string', default: '' },
    train: { type: 'string', default: '' },
    test: { type: 'string', default: '' },
    other: { type: 'string', default: '' },
    provider: { type: 'string', default: 'auto' },
    method: { type: 'string', default: 'lora' },
    updates: { type: 'string', default: '400' },
    'batch-size': { type: 'string', default: '8' },
    length: { type: 'string', default: '512' },
    rank: { type: 'string', default: '32' },
    rate: { type: 'string', default: '1e-3' },
    roles: { type: 'string' },
    warmup: { type: 'string', default: '20' },
    precision: { type: 'string' },
    'teacher-share': { type: 'string', default: '0.5' },
    seed: { type: 'string', default: '0' },
    temperatures: { type: 'string', default: '1' },
    recite: { type: 'string', default: '0' },
    recited: { type: 'string' },
    samples: { type: 'string' },
    'test-tokens': { type: 'string', default: '65536' },
    window: { type: 'string', default: '1024' },
    without: { type: 'string', default: '' },
    together: { type: 'string' },
    json: { type: 'string' },
  },
})
const together = flags.together?.split(',')
const without = flags.without.split(',')
const print = (line: string): unknown => process.stdout.write(`${line}\n`)
const started = performance.now()
const seconds = (): number => Math.round((performance.now() - started) / 100) / 10

for (const linked of linkCudaLibraries()) print(`linked ${linked}`)
const provider = await chooseProvider(flags.provider as 'auto' | ProviderName)
for (const { provider: name, reason } of provider.passedOver)
  print(`${name} passed over: ${reason}`)
print(`${provider.name} · ${cpus()[0]?.model}, ${cpus().length} threads · ${JSON.stringify(flags)}`)

let said = 0
const log = {
  info: (message: string) => print(`[${seconds()} s] ${message}`),
  warn: (code: string, message: string) => print(`[${seconds()} s] ${code}: ${message}`),
  progress(step: string, done: number, total: number, detail = '') {
    if (performance.now() - said < 5000 && done < total) return
    said = performance.now()
    print(`[${seconds()} s] ${step} ${done.toFixed(0)}/${total} ${detail}`)
  },
}
const options = { provider: provider.name, log }

const dense = loadModel(flags.dense)
const { vocabulary } = readModel(dense.model.graph)
const open = (path: string, sequenceLength: number, batchSize: number, tokens?: number): Batch[] =>
  openData(path, {
    model: dense.model,
    folder: dense.folder,
    vocabulary,
    sequenceLength,
    batchSize,
    tokens,
    samples: flags.samples && tokens === undefined ? Number(flags.samples) : undefined,
  })
const tests = [flags.test, flags.other].map((path) =>
  open(path, Number(flags.window), 2, Number(flags['test-tokens'])),
)
/** The same tokens in windows of half the length: whether it is distance that was lost. */
const shortTests = [flags.test, flags.other].map((path) =>
  open(path, Number(flags.window) / 2, 4, Number(flags['test-tokens'])),
)

interface Row {
  readonly name: string
  readonly test: number
  readonly other: number
  readonly shortTest: number
  readonly shortOther: number
  readonly trainingSeconds?: number
  readonly updates?: number
}
const rows: Row[] = []

async function measure(name: string, model: Model, more: Partial<Row> = {}): Promise<void> {
  const values: number[] = []
  for (const batches of [...tests, ...shortTests]) {
    const [measured] = await evaluate(model, { ...options, batches, metrics: ['perplexity'] })
    values.push(measured?.value ?? Number.NaN)
  }
  const [test, other, shortTest, shortOther] = values as [number, number, number, number]
  rows.push({ name, test, other, shortTest, shortOther, ...more })
  print(
    `[${seconds()} s] ${name}: test ${test.toFixed(3)}, other ${other.toFixed(3)}; in windows of half the length ${shortTest.toFixed(3)} and ${shortOther.toFixed(3)}`,
  )
}

async function recover(
  name: string,
  { model }: LoadedModel,
  batches: readonly Batch[],
  heldOut: readonly Batch[],
) {
  const began = performance.now()
  const targets = flags.roles?.split(',') as WeightRole[] | undefined
  const size = { rank: Number(flags.rank), alpha: 2 * Number(flags.rank) }
  const result = await train(model, {
    ...options,
    batches,
    heldOut,
    method:
      flags.method === 'full' ? { kind: 'full', targets } : { kind: 'lora', ...size, targets },
    precision: flags.precision as Precision | undefined,
    updates: Number(flags.updates),
    batchSize: Number(flags['batch-size']),
    rate: Number(flags.rate),
    warmup: Number(flags.warmup),
    judgeEvery: Math.max(5, Math.round(Number(flags.updates) / 8)),
    patience: Number.POSITIVE_INFINITY,
    seed: 0,
    averaging: together && {
      folder: together[0] as string,
      rank: Number(together[1]),
      count: Number(together[2]),
      every: Number(together[3]),
    },
    teacher: {
      model: loadModel(flags.dense).model,
      share: Number(flags['teacher-share']),
      temperature: 1,
    },
  })
  const trainingSeconds = (performance.now() - began) / 1000
  for (const { update, training, heldOut: judged } of result.curve)
    print(`  update ${update}: loss ${training.toFixed(4)}, held out ${judged.toFixed(4)}`)
  edit(model.graph, 'fold', (change) => {
    for (const { name: weight, tensor } of result.weights)
      change.setConstant(model.graph.values.get(weight) as Value, tensor)
  })
  await measure(name, model, { trainingSeconds, updates: result.updates })
}

/** Shorter texts one after another in windows of `length`, as models see them when they are made; longer ones are cut. */
function packed(texts: readonly number[][], length: number): number[][] {
  const each = Math.max(1, Math.floor(length / (texts[0]?.length ?? length)))
  return Array.from({ length: Math.floor(texts.length / each) }, (_, index) =>
    texts
      .slice(index * each, (index + 1) * each)
      .flat()
      .slice(0, length),
  )
}

/** Tokens of texts of one length, as whole numbers of 32 bits after that length. */
function readTexts(file: string): number[][] {
  const bytes = readFileSync(file)
  const [length = 1] = new Int32Array(bytes.buffer, bytes.byteOffset, 1)
  const all = new Int32Array(bytes.buffer, bytes.byteOffset + 4, bytes.byteLength / 4 - 1)
  return Array.from({ length: all.length / length }, (_, row) =>
    Array.from(all.subarray(row * length, (row + 1) * length)),
  )
}

function writeTexts(file: string, texts: readonly (readonly number[])[]): void {
  const length = texts[0]?.length ?? 0
  const all = new Int32Array(1 + texts.length * length)
  all[0] = length
  for (const [row, ids] of texts.entries()) all.set(ids, 1 + row * length)
  writeFileSync(file, all)
}

/** What the dense model makes up, kept in `--recited FILE` for the next run; several files that are there are read, and texts put together. */
async function recited(): Promise<Batch[]> {
  const windows = Number(flags.recite)
  if (windows === 0) return []
  const batchSize = Number(flags['batch-size'])
  const files = flags.recited?.split(',') ?? []
  if (files.length > 0 && files.every((file) => existsSync(file))) {
    const texts = files.flatMap(readTexts)
    const kept = packed(texts, Number(flags.length))
    const inputs = portsOf(dense.model)
    const count = Math.min(windows, kept.length)
    return Array.from({ length: Math.floor(count / batchSize) }, (_, index) =>
      makeTokenBatch(kept.slice(index * batchSize, (index + 1) * batchSize), inputs),
    )
  }
  const made = await recite({
    ...options,
    source: dense,
    texts: own.flatMap(({ ids }) => ids),
    length: Number(flags.length),
    batchSize,
    windows,
    vocabulary,
    seed: Number(flags.seed),
    temperatures: flags.temperatures.split(',').map(Number),
  })
  if (flags.recited)
    writeTexts(
      flags.recited,
      made.flatMap(({ ids }) => ids),
    )
  return made
}

const all = open(flags.train, Number(flags.length), Number(flags['batch-size']))
const held = Math.max(1, Math.round(all.length / 10))
const own = all.slice(0, -held)
const recitedBatches = await recited()
const heldOut = [...all.slice(-held), ...recitedBatches.slice(-2)]
const made = recitedBatches.slice(0, -2)
// Batches of one size mix; what is left over of either text does not.
const whole = [...own, ...made].filter(({ ids }) => ids.length === Number(flags['batch-size']))
const batches = together
  ? whole.filter((_, at) => at % Number(together[2]) === Number(together[1]))
  : whole
print(
  `[${seconds()} s] ${batches.length} batches of ${flags['batch-size']} × ${flags.length} tokens, ${made.length} of them recited; ${heldOut.length} held out`,
)

if (flags.pruned === '') process.exit()
const pruned = loadModel(flags.pruned)
if (!without.includes('pruned')) await measure('pruned', pruned.model)
await recover('pruned, recovered', pruned, batches, heldOut)
if (!without.includes('dense')) {
  await measure('dense', dense.model)
  await recover('dense, trained alike', dense, batches, heldOut)
}
const of = (name: string): Row | undefined => rows.find((row) => row.name === name)
const recovered = of('pruned, recovered')
const alike = of('dense, trained alike')
const untouched = of('dense')
if (recovered && alike && untouched)
  print(
    `test: ${(recovered.test / alike.test).toFixed(3)} × the dense model trained alike; other: ${(recovered.other / untouched.other).toFixed(3)} × the untouched dense model`,
  )
if (flags.json) writeFileSync(flags.json, JSON.stringify({ flags, provider, rows }, null, 2))
print(`done in ${seconds()} s`)
