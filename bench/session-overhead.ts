/**
 * What a run costs beside the work: one Add of 4 numbers by attnc's addon, by onnxruntime-node on the thread that asks
 * (which it blocks), and by onnxruntime-node in a thread, in turns.
 * `npx tsx bench/session-overhead.ts [--runs 2000] [--rounds 9]`
 */
import { parseArgs } from 'node:util'
import { InferenceSession, Tensor } from 'onnxruntime-node'
import { edit } from '../src/graph/edit.js'
import { Model } from '../src/graph/graph.js'
import { tensorOf } from '../src/onnx/numbers.js'
import { materialise } from '../src/runtime/materialise.js'
import { openNativeSession } from '../src/runtime/native/session.js'
import { openThreadSession } from '../src/runtime/thread-session.js'
import { median } from './contenders.js'

const { values: flags } = parseArgs({
  options: { runs: { type: 'string', default: '2000' }, rounds: { type: 'string', default: '9' } },
})
const model = new Model()
model.opsets.set('', 17)
edit(model.graph, 'add', (change) => {
  const x = change.addInput('x', 'float32', [4])
  const y = change.add('Add', [x, x], { output: 'y' })
  change.setType(y, { dataType: 'float32', dims: [4] })
  change.expose(y)
})
const file = materialise(model)
const feeds = { x: tensorOf('float32', [4], [1, 2, 3, 4]) }
const native = await openNativeSession({ path: file.path, threads: 1 })
const thread = await openThreadSession({ path: file.path, threads: 1 })
const direct = await InferenceSession.create(file.path, {
  executionProviders: ['cpu'],
  intraOpNumThreads: 1,
})
const tensors = { x: new Tensor('float32', Float32Array.of(1, 2, 3, 4), [4]) }
const ways = [
  {
    name: 'attnc’s addon',
    run: () => native.run(feeds),
    times: [] as number[],
    used: [] as number[],
  },
  {
    name: 'onnxruntime-node, blocking',
    run: () => direct.run(tensors),
    times: [] as number[],
    used: [] as number[],
  },
  {
    name: 'onnxruntime-node in a thread',
    run: () => thread.run(feeds),
    times: [] as number[],
    used: [] as number[],
  },
]
const runs = Number(flags.runs)
for (let round = 0; round <= Number(flags.rounds); round++)
  for (const { run, times, used } of ways) {
    const before = process.cpuUsage()
    const begin = performance.now()
    for (let index = 0; index < runs; index++) await run()
    if (round === 0) continue
    times.push((1000 * (performance.now() - begin)) / runs)
    const { user, system } = process.cpuUsage(before)
    used.push((user + system) / runs)
  }
process.stdout.write('| way | µs by the clock | µs of the processor |\n|---|---|---|\n')
for (const { name, times, used } of ways)
  process.stdout.write(`| ${name} | ${median(times).toFixed(1)} | ${median(used).toFixed(1)} |\n`)
await native.close()
await thread.close()
await direct.release()
file.dispose()
