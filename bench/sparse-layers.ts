/**
 * Prefill through the first layers of a language model, dense and sparse, in turns: what sparse attention
 * saves as the text grows. With the native build the sparse one runs twice, by its body and by the kernels.
 * Usage: npx tsx bench/sparse-layers.ts DENSE.onnx SPARSE.onnx [--layers 3] [--lengths 2048,4096] [--rounds 5]
 */
import { parseArgs } from 'node:util'
import { extractSubgraph } from '../src/graph/extract.js'
import type { Value } from '../src/graph/graph.js'
import { readModel } from '../src/model/model.js'
import { loadModel } from '../src/model-folder/load.js'
import { tensorOf } from '../src/onnx/numbers.js'
import { materialise } from '../src/runtime/materialise.js'
import { openSession } from '../src/runtime/session.js'

const { values: flags, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    layers: { type: 'string', default: '3' },
    lengths: { type: 'string', default: '2048,4096,8192' },
    rounds: { type: 'string', default: '5' },
    threads: { type: 'string', default: '2' },
  },
})
const [dense = '', sparse = ''] = positionals
const view = readModel(loadModel(dense).model.graph)
const last =
  view.feedForward[Number(flags.layers) - 1]?.outputProjection.node.outputs[0]?.name ?? ''
const files = [dense, sparse].map((path) => {
  const { graph } = loadModel(path).model
  return materialise(extractSubgraph(graph, new Map(), [graph.values.get(last) as Value]))
})
const open = (file: number, native: string | undefined) => {
  if (native === undefined) delete process.env['ATTNC_NATIVE']
  else process.env['ATTNC_NATIVE'] = native
  return openSession({ path: files[file]?.path ?? '', threads: Number(flags.threads) })
}
const own = process.env['ATTNC_NATIVE']
const sessions = {
  dense: await open(0, '/nowhere'),
  'sparse, body': await open(1, '/nowhere'),
  'sparse, native if built': await open(1, own),
}
for (const length of flags.lengths.split(',').map(Number)) {
  const ids = Array.from({ length }, (_, index) => (index * 131) % (view.vocabulary ?? 1000))
  const feeds = {
    input_ids: tensorOf('int64', [1, length], ids),
    attention_mask: tensorOf('int64', [1, length], new Float64Array(length).fill(1)),
  }
  const times: Record<string, number[]> = {}
  for (let round = 0; round < Number(flags.rounds); round++)
    for (const [name, session] of Object.entries(sessions)) {
      const start = performance.now()
      await session.run(feeds)
      times[name] = [...(times[name] ?? []), performance.now() - start]
    }
  for (const [name, all] of Object.entries(times)) {
    const sorted = all.map(Math.round).sort((a, b) => a - b)
    process.stdout.write(
      `${length} ${name}: ${sorted[sorted.length >> 1]} ms (${sorted.join(' ')})\n`,
    )
  }
}
for (const session of Object.values(sessions)) await session.close()
for (const file of files) file.dispose()
