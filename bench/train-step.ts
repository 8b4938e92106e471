/**
 * What a training step costs beside a forward pass of the same loss: both sessions in turns, the median
 * of each and their ratio, for all weights and for low-rank updates of the projections; and its memory:
 * what its shapes say, the most that was in use at once in the session's arena, what the arena took,
 * on a GPU also what the driver says is in use after some steps. `--recompute` lists shares of the
 * forward pass that are computed twice, each a run. bench/train-step.py measures the same in PyTorch.
 *
 *   npx tsx bench/train-step.ts MODEL DATA [--batch-size 8] [--length 256] [--rounds 9] [--threads 2]
 *     [--provider cpu] [--only full,lora] [--recompute none,0,0.5,1] [--teacher-share 0]
 *     [--sizes free,fixed,replayed] [--precision float32,float16]
 *     [--rank 16] [--inside-up-to 0] [--attention own,plain] [--rows fused,apart]
 *
 * `--sizes`: read from the inputs at every step; written into the graph; or the step's kernels recorded too
 * and started by one call. A teacher is the model itself. `--attention`: as one operator with a kernel for its backward pass,
 * which there is in half precision on a GPU; or as products. `--rows`: work along rows put together, or an
 * operator each. Loss and gradient of the first step say whether they agree.
 */
import { spawnSync } from 'node:child_process'
import { parseArgs } from 'node:util'
import { openData } from '../src/data/open-data.js'
import { estimateMemory } from '../src/gradients/memory/step-memory.js'
import { hasGradientKernel } from '../src/gradients/own-gradient.js'
import { edit } from '../src/graph/edit.js'
import type { Model, Value } from '../src/graph/graph.js'
import { readModel } from '../src/model/model.js'
import { loadModel } from '../src/model-folder/load.js'
import { numbersOf, type RuntimeTensor, tensorOf, zeros } from '../src/onnx/numbers.js'
import { rowsWorthFusing } from '../src/rewrite/fuse-rows/fuse-rows.js'
import { linkCudaLibraries } from '../src/runtime/cuda-libraries.js'
import { type Materialised, materialise } from '../src/runtime/materialise.js'
import { NativeSession } from '../src/runtime/native/session.js'
import { hasTrainingKernels } from '../src/runtime/own-kernels.js'
import type { ProviderName } from '../src/runtime/provider.js'
import { openSession, type Session } from '../src/runtime/session.js'
import { feedsOf, sizesOfFeeds } from '../src/train/feeds.js'
import { chooseObjective, targetsOf } from '../src/train/loss/objective.js'
import { defaultScaling, SCALE, scaleTensor } from '../src/train/loss-scale.js'
import { adamW } from '../src/train/optimizer.js'
import {
  buildLossGraph,
  buildTrainingGraph,
  COUNT,
  type LossGraph,
  type Precision,
  RATE,
} from '../src/train/training-graph.js'
import { vector } from '../src/train/training-run.js'
import { PARAMETERS } from '../src/train/weights/insert.js'
import { findTrainable, initialParameters, type Method } from '../src/train/weights/trainable.js'

const { values: flags, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    'batch-size': { type: 'string', default: '8' },
    length: { type: 'string', default: '256' },
    rounds: { type: 'string', default: '9' },
    threads: { type: 'string', default: '2' },
    provider: { type: 'string', default: 'cpu' },
    only: { type: 'string', default: 'full,lora' },
    recompute: { type: 'string', default: 'none' },
    sizes: { type: 'string', default: 'replayed' },
    rank: { type: 'string', default: '16' },
    'inside-up-to': { type: 'string', default: '0' },
    precision: { type: 'string', default: 'float32' },
    'teacher-share': { type: 'string', default: '0' },
    attention: { type: 'string', default: 'own' },
    rows: { type: 'string', default: 'fused' },
  },
})
const print = (line: string): unknown => process.stdout.write(`${line}\n`)
const provider = flags.provider as ProviderName
for (const linked of linkCudaLibraries()) print(`linked ${linked}`)
const [path = '', data = ''] = positionals
const { model, folder } = loadModel(path)
const batches = openData(data, {
  model,
  folder,
  vocabulary: readModel(model.graph).vocabulary,
  samples: Number(flags['batch-size']),
  batchSize: Number(flags['batch-size']),
  sequenceLength: Number(flags.length),
})
const [batch] = batches
if (!batch) throw new Error(`${data} holds no batch`)
const objective = chooseObjective(model, batches)
const median = (numbers: readonly number[]): number =>
  numbers.toSorted((a, b) => a - b)[Math.floor(numbers.length / 2)] ?? Number.NaN

const teacherShare = Number(flags['teacher-share'])

const files: Materialised[] = []
function open(each: Model, replays = false): Promise<Session> {
  const file = materialise(each)
  files.push(file)
  const threads = provider === 'cpu' ? Number(flags.threads) : undefined
  return openSession({ path: file.path, provider, threads, sparing: true, replays })
}

const megabytes = (bytes: number): string => `${Math.round(bytes / 2 ** 20)} MiB`

/** Memory of the session's arena, where it tells. */
function arenaOf(session: Session): string {
  const memory = session instanceof NativeSession ? session.memory : undefined
  return memory
    ? `, in use at most ${megabytes(memory.mostInUse)}, taken ${megabytes(memory.taken)}`
    : ''
}

/** MiB of the first GPU that are in use, by whoever. */
function deviceMemory(): number {
  const query = ['--query-gpu=memory.used', '--format=csv,noheader,nounits']
  return Number.parseInt(spawnSync('nvidia-smi', query, { encoding: 'utf8' }).stdout ?? '', 10)
}

/** The parameters stay on the device as they do in a step: they leave the graph as they came in. */
function keepParameters({ model: { graph } }: LossGraph): Readonly<Record<string, string>> {
  const parameters = graph.values.get(PARAMETERS) as Value
  const kept = edit(graph, 'bench', (change) => {
    const same = change.add('Identity', [parameters])
    change.expose(same)
    return same
  })
  return { [kept.name]: PARAMETERS }
}

async function measure(
  method: Method,
  share: number | undefined,
  [form, precision, attention, rows]: readonly [string, Precision, string, string],
): Promise<void> {
  const trainable = findTrainable(model.graph, method)
  const loss = buildLossGraph(model, { objective, trainable })
  const shared = { ...batch?.feeds, ...targetsOf(objective, batch as never) }
  const sizes = sizesOfFeeds(loss.model.graph, shared)
  const step = buildTrainingGraph(model, {
    objective,
    trainable,
    optimizer: adamW(),
    clip: 1,
    accumulate: 1,
    precision,
    hasKernel: attention === 'own' && hasTrainingKernels(provider) ? hasGradientKernel : undefined,
    fusesRowsFrom: rows === 'fused' ? rowsWorthFusing(provider) : undefined,
    isScaled: precision === 'float16',
    recompute: share === undefined ? undefined : { share, sizes },
    feeds: form === 'free' ? undefined : shared,
    teacher:
      teacherShare > 0
        ? { model: loadModel(path).model, share: teacherShare, temperature: 1 }
        : undefined,
  })
  const estimated = estimateMemory(step.model.graph, sizes)
  const before = provider === 'cuda' ? deviceMemory() : Number.NaN
  await using training = await open(step.model, form === 'replayed')
  const parameters = vector(initialParameters(trainable, 0))
  const stepFeeds = feedsOf(training, {
    ...shared,
    [RATE]: tensorOf('float32', [], [1e-4]),
    [COUNT]: tensorOf('float32', [], [1]),
    [SCALE]: scaleTensor(defaultScaling.initial),
  })
  const states = step.states.map((name) => [name, zeros('float32', [trainable.size])])
  const first = { [PARAMETERS]: parameters, ...Object.fromEntries(states) }
  const began = await training.step({ ...stepFeeds, ...first }, step.carry)
  const [lossFound, norm] = [step.loss, step.norm].map(
    (name) => numbersOf(began[name] as RuntimeTensor)[0] as number,
  ) as [number, number]
  for (let round = 0; round < 2; round++) await training.step(stepFeeds, step.carry)
  const used = provider === 'cuda' ? deviceMemory() - before : Number.NaN
  const arena = arenaOf(training)
  // On the processor what is fed is read where it lies.
  const carry = provider === 'cpu' ? {} : keepParameters(loss)
  await using forward = await open(loss.model)
  const forwardFeeds = feedsOf(forward, shared)
  const given = provider === 'cpu' ? { [PARAMETERS]: parameters } : {}
  await forward.step({ ...forwardFeeds, [PARAMETERS]: parameters }, carry)
  const times: [number[], number[]] = [[], []]
  for (let round = 0; round < Number(flags.rounds); round++) {
    await forward.step({ ...forwardFeeds, ...given }, carry)
    times[0].push(forward.lastRunMs)
    await training.step(stepFeeds, step.carry)
    times[1].push(training.lastRunMs)
  }
  const [one, other] = [median(times[0]), median(times[1])]
  const ratios = times[0].map((each, round) => (times[1][round] as number) / each)
  const memory = Number.isNaN(used) ? '' : `, ${used} MiB by the driver`
  print(
    `${method.kind}, ${precision}, attention ${attention}, rows ${rows}, sizes ${form}${training instanceof NativeSession && training.isReplaying ? ', recorded' : ''}${share === undefined ? '' : `, ${share} computed twice`}: forward ${one.toFixed(1)} ms, step ${other.toFixed(1)} ms, ratio ${median(ratios).toFixed(2)} (loss ${lossFound.toPrecision(6)}, gradient ${norm.toPrecision(6)}; ${trainable.size.toLocaleString('en')} numbers; by shapes ${megabytes(estimated.peakBytes)}${arena}${memory})`,
  )
}

const methods: readonly Method[] = [
  { kind: 'full' },
  { kind: 'lora', rank: Number(flags.rank), alpha: 32, insideUpTo: Number(flags['inside-up-to']) },
]
try {
  for (const method of methods)
    if (flags.only.split(',').includes(method.kind))
      for (const share of flags.recompute.split(','))
        for (const form of flags.sizes.split(','))
          for (const precision of flags.precision.split(',') as Precision[])
            for (const attention of flags.attention.split(','))
              for (const rows of flags.rows.split(','))
                await measure(method, share === 'none' ? undefined : Number(share), [
                  form,
                  precision,
                  attention,
                  rows,
                ])
} finally {
  for (const file of files) file.dispose()
}
