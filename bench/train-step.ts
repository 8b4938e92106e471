/**
 * What a training step costs beside a forward pass of the same loss: both sessions in turns, the median
 * of each and their ratio, for the projections themselves and for low-rank updates of them.
 *
 *   npx tsx bench/train-step.ts MODEL DATA [--batch-size 8] [--length 256] [--rounds 9] [--threads 2]
 */
import { parseArgs } from 'node:util'
import { openData } from '../src/data/open-data.js'
import type { Model } from '../src/graph/graph.js'
import { readModel } from '../src/model/model.js'
import { loadModel } from '../src/model-folder/load.js'
import { tensorOf, zeros } from '../src/onnx/numbers.js'
import { type Materialised, materialise } from '../src/runtime/materialise.js'
import { openSession, type Session } from '../src/runtime/session.js'
import { feedsOf } from '../src/train/feeds.js'
import { PARAMETERS } from '../src/train/insert.js'
import { chooseObjective, targetsOf } from '../src/train/objective.js'
import { adamW } from '../src/train/optimizer.js'
import { findTrainable, initialParameters, type Method } from '../src/train/trainable.js'
import { buildLossGraph, buildTrainingGraph, COUNT, RATE } from '../src/train/training-graph.js'
import { vector } from '../src/train/training-run.js'

const { values: flags, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    'batch-size': { type: 'string', default: '8' },
    length: { type: 'string', default: '256' },
    rounds: { type: 'string', default: '9' },
    threads: { type: 'string', default: '2' },
  },
})
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

const files: Materialised[] = []
function open(each: Model): Promise<Session> {
  const file = materialise(each)
  files.push(file)
  return openSession({ path: file.path, threads: Number(flags.threads) })
}

async function measure(method: Method): Promise<void> {
  const trainable = findTrainable(model.graph, method)
  const loss = buildLossGraph(model, { objective, trainable })
  const step = buildTrainingGraph(model, {
    objective,
    trainable,
    optimizer: adamW(),
    clip: 1,
    accumulate: 1,
  })
  await using forward = await open(loss.model)
  await using training = await open(step.model)
  const shared = { ...batch?.feeds, ...targetsOf(objective, batch as never) }
  const parameters = vector(initialParameters(trainable, 0))
  const forwardFeeds = feedsOf(forward, { ...shared, [PARAMETERS]: parameters })
  const stepFeeds = feedsOf(training, {
    ...shared,
    [RATE]: tensorOf('float32', [], [1e-4]),
    [COUNT]: tensorOf('float32', [], [1]),
  })
  const states = step.states.map((name) => [name, zeros('float32', [trainable.size])])
  const first = { [PARAMETERS]: parameters, ...Object.fromEntries(states) }
  await training.step({ ...stepFeeds, ...first }, step.carry)
  await forward.run(forwardFeeds)
  const times: [number[], number[]] = [[], []]
  for (let round = 0; round < Number(flags.rounds); round++) {
    await forward.run(forwardFeeds)
    times[0].push(forward.lastRunMs)
    await training.step(stepFeeds, step.carry)
    times[1].push(training.lastRunMs)
  }
  const [one, other] = [median(times[0]), median(times[1])]
  const ratios = times[0].map((each, round) => (times[1][round] as number) / each)
  process.stdout.write(
    `${method.kind}: forward ${one.toFixed(1)} ms, step ${other.toFixed(1)} ms, ratio ${median(ratios).toFixed(2)} (${trainable.size.toLocaleString('en')} numbers)\n`,
  )
}

try {
  await measure({ kind: 'full' })
  await measure({ kind: 'lora', rank: 16, alpha: 32 })
} finally {
  for (const file of files) file.dispose()
}
