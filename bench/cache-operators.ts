/**
 * One step of decoding with the cache's forms: all of it (GroupQueryAttention of ONNX Runtime, attnc's BlockSparseAttention), a
 * cache of fixed size (StreamAttention), blocks chosen by their bounds (BlockSelect and GatherBlockAttention), each
 * by kernel and by body, interleaved in one run; with `--against FILE` by the kernels of another build too.
 * `npx tsx bench/cache-operators.ts [--keys 16384] [--rounds 9] [--threads 2] [--cpu] [--against libattnc_kernels.so]`
 */
import { parseArgs } from 'node:util'
import { blockSelect } from '../kernels/block-select/index.js'
import { blockSparseAttention } from '../kernels/block-sparse-attention/index.js'
import { layoutTensors } from '../kernels/block-sparse-attention/layout.js'
import { denseLayout } from '../kernels/block-sparse-attention/patterns.js'
import { gatherBlockAttention } from '../kernels/gather-block-attention/index.js'
import { emitKernel } from '../kernels/kernel.js'
import { streamAttention } from '../kernels/stream-attention/index.js'
import type { GraphEdit } from '../src/graph/edit.js'
import type { Value } from '../src/graph/graph.js'
import { tensorOf } from '../src/onnx/numbers.js'
import { type Contender, contender, int, median, race, random } from './contenders.js'

const { values: flags } = parseArgs({
  options: {
    keys: { type: 'string', default: '16384' },
    rounds: { type: 'string', default: '9' },
    threads: { type: 'string', default: '2' },
    cpu: { type: 'boolean', default: false },
    against: { type: 'string' },
  },
})
const threads = Number(flags.threads)
const T = Number(flags.keys)
const [H, K, d] = [32, 8, 128]
const BLOCK = 64
const [sinks, window] = [64, 960]
const KEPT = 16

type Values = Readonly<Record<string, Value>>

const cache = {
  query: random([1, H, 1, d]),
  key: random([1, K, T, d]),
  value: random([1, K, T, d]),
}
const blocks = { queryBlock: BLOCK, keyBlock: BLOCK }

const dense = (change: GraphEdit, { query, key, value }: Values): Value[] => {
  const { rows, columns } = layoutTensors(denseLayout({ queries: T, keys: T, ...blocks }, true))
  const layout = [change.constant(rows), change.constant(columns)]
  const inputs = [query, key, value, ...layout]
  return emitKernel(change, blockSparseAttention, {
    inputs,
    attributes: { causal: true, ...blocks },
  }).outputs.slice(0, 1) as Value[]
}

const C = Math.ceil(T / BLOCK)
const chosen = { ...cache, summary: random([1, K, C, 2, d]) }
const choose = (change: GraphEdit, { query, key, value, summary }: Values): Value[] => {
  const indices = emitKernel(change, blockSelect, {
    inputs: [query, key, undefined, undefined, summary],
    attributes: { scorer: 'minmax', count: KEPT, causal: true, localBlocks: 1, ...blocks },
  }).outputs[0]
  const inputs = [query, key, value, indices]
  return emitKernel(change, gatherBlockAttention, {
    inputs,
    attributes: { causal: true, ...blocks },
  }).outputs.slice(0, 1) as Value[]
}

const slots = Array.from({ length: sinks + window }, (_, slot) => {
  if (slot < sinks) return slot + 1
  const ago = (T - 1 - sinks - (slot - sinks)) % window
  return T - 1 - ((ago + window) % window) + 1
})
const stream = {
  query: random([1, H, 1, d]),
  key: random([1, K, 1, d]),
  value: random([1, K, 1, d]),
  positions: tensorOf('int64', [1, 1], [T]),
  pastKey: random([1, K, sinks + window, d]),
  pastValue: random([1, K, sinks + window, d]),
  slots: tensorOf('int64', [1, 1, sinks + window], slots),
}
const streaming = (change: GraphEdit, v: Values): Value[] =>
  emitKernel(change, streamAttention, {
    inputs: ['query', 'key', 'value', 'positions', 'pastKey', 'pastValue', 'slots'].map(
      (name) => v[name],
    ),
    attributes: { sinks, window },
  }).outputs as Value[]

const grouped = {
  q: random([1, 1, H * d]),
  k: random([1, 1, K * d]),
  v: random([1, 1, K * d]),
  pastK: random([1, K, T - 1, d]),
  pastV: random([1, K, T - 1, d]),
  lengths: tensorOf('int32', [1], [T - 1]),
  total: tensorOf('int32', [1], [T]),
}
const groupQuery = (change: GraphEdit, v: Values): Value[] =>
  change
    .addNode({
      op: 'GroupQueryAttention',
      domain: 'com.microsoft',
      inputs: ['q', 'k', 'v', 'pastK', 'pastV', 'lengths', 'total'].map((name) => v[name]),
      outputs: ['y', 'presentK', 'presentV'],
      attributes: { num_heads: int(H), kv_num_heads: int(K) },
    })
    .outputs.slice(0, 1) as Value[]

const bytes = (keys: number): number => 2 * keys * K * d * 4
const forms = [
  ['GroupQueryAttention, all keys', grouped, groupQuery, bytes(T)],
  ['BlockSparseAttention, all keys', cache, dense, bytes(T)],
  [
    `BlockSelect + GatherBlockAttention, ${KEPT} of ${C} blocks`,
    chosen,
    choose,
    bytes(KEPT * BLOCK),
  ],
  [`StreamAttention, ${sinks} sinks + ${window}`, stream, streaming, bytes(sinks + window)],
] as const

const list: Contender[] = []
for (const [name, inputs, build] of forms) {
  const types = name.startsWith('Stream')
    ? (['float32', 'float32', 'float32', 'int64'] as const)
    : []
  list.push(await contender(name, threads, inputs, build, { types }))
  if (name.startsWith('Group')) continue
  if (flags.against)
    list.push(
      await contender(`${name}, other build`, threads, inputs, build, {
        types,
        kernels: flags.against,
      }),
    )
  else
    list.push(await contender(`${name}, body`, threads, inputs, build, { kernels: false, types }))
}
await race(list, { rounds: Number(flags.rounds), cpu: flags.cpu })
process.stdout.write(`${T} keys, ${H} heads on ${K}, d = ${d}, float32, ${threads} threads\n\n`)
process.stdout.write(
  '| one step | ms | kept keys and values | ÷ other build, lowest to highest |\n',
)
process.stdout.write('|---|---|---|---|\n')
const ratioOf = ({ name, times }: Contender): string => {
  const other = list.find((each) => each.name === `${name}, other build`)
  if (!other) return ''
  const ratios = times.map((time, round) => time / (other.times[round] as number))
  const ends = [Math.min(...ratios), Math.max(...ratios)].map((end) => end.toFixed(2))
  return `${median(ratios).toFixed(2)} (${ends.join('–')})`
}
for (const each of list) {
  const { name, times, session } = each
  const kept = forms.find(([form]) => name.startsWith(form))?.[3] ?? 0
  const rate = (kept / median(times) / 1e6).toFixed(1)
  process.stdout.write(
    `| ${name} | ${median(times).toFixed(2)} | ${(kept / 1e6).toFixed(1)} MB, ${rate} GB/s | ${ratioOf(each)} |\n`,
  )
  await session.close()
}
