/**
 * What calibration costs beside bare forward passes over the same batches: interleaved rounds, each run
 * whole (session opened, batches run, closed). `trunk` is the model cut off before its last projection,
 * which calibration doesn't need either: the stricter comparison.
 *
 *   npx tsx bench/calibration.ts MODEL DATA [--samples 16] [--batch-size 8] [--length 512]
 *     [--rounds 3] [--threads N] [--stride N]
 */
import { parseArgs } from 'node:util'
import { calibrate, projectionInputs } from '../src/calibrate/calibrate.js'
import { openData } from '../src/data/open-data.js'
import { extractSubgraph } from '../src/graph/extract.js'
import type { Value } from '../src/graph/graph.js'
import { silentLog } from '../src/log.js'
import { readModel } from '../src/model/model.js'
import { loadModel } from '../src/model-folder/load.js'
import { type RunOptions, runBatches } from '../src/runtime/batches.js'

const { values: flags, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    samples: { type: 'string', default: '16' },
    'batch-size': { type: 'string', default: '8' },
    length: { type: 'string', default: '512' },
    rounds: { type: 'string', default: '3' },
    threads: { type: 'string' },
    stride: { type: 'string' },
  },
})
const [path = '', data = ''] = positionals
const { model, folder } = loadModel(path)
const view = readModel(model.graph)
const batches = openData(data, {
  model,
  folder,
  vocabulary: view.vocabulary,
  samples: Number(flags.samples),
  batchSize: Number(flags['batch-size']),
  sequenceLength: Number(flags.length),
})
const run: RunOptions = {
  log: silentLog,
  threads: flags.threads === undefined ? undefined : Number(flags.threads),
}
const stride = flags.stride === undefined ? undefined : Number(flags.stride)
const last = projectionInputs(view, false).flatMap(({ stream }) => (stream ? [stream.value] : []))
const trunk = extractSubgraph(model.graph, new Map(), last.slice(-1) as Value[])

const cases: Record<string, () => Promise<unknown>> = {
  bare: () => runBatches(model, batches, run, undefined, () => {}),
  trunk: () => runBatches(trunk, batches, run, undefined, () => {}),
  calibrate: () => calibrate(model, { ...run, batches, moments: true, stride }),
  'without moments': () => calibrate(model, { ...run, batches, moments: false }),
}
const seconds = new Map<string, number[]>(Object.keys(cases).map((name) => [name, []]))
for (let round = 0; round < Number(flags.rounds); round++)
  for (const [name, each] of Object.entries(cases)) {
    const started = performance.now()
    await each()
    seconds.get(name)?.push((performance.now() - started) / 1000)
  }

const median = (numbers: readonly number[]): number =>
  numbers.toSorted((a, b) => a - b)[Math.floor(numbers.length / 2)] ?? Number.NaN
const base = median(seconds.get('bare') ?? [])
const baseTrunk = median(seconds.get('trunk') ?? [])
const print = (line: string): unknown => process.stdout.write(`${line}\n`)
print(`${path}: ${batches.length} batches of ${flags['batch-size']} × ${flags.length}`)
for (const [name, all] of seconds) {
  const each = median(all)
  print(
    `${name.padEnd(16)} ${each.toFixed(2)} s (${all.map((s) => s.toFixed(2)).join(' ')})  ${(each / base).toFixed(2)} × bare, ${(each / baseTrunk).toFixed(2)} × trunk`,
  )
}
