/**
 * BlockSparseAttention against what ONNX Runtime has, interleaved in one run: its MatMul (the rate
 * that is possible), MultiHeadAttention, GroupQueryAttention with the same window, and our own
 * portable body. Work counts the pairs that are kept, two products each.
 * `npx tsx bench/block-sparse-attention.ts [case …] [--rounds 7] [--threads 2] [--cpu]`
 */
import { parseArgs } from 'node:util'
import { blockSparseAttention } from '../kernels/block-sparse-attention/index.js'
import { layoutTensors } from '../kernels/block-sparse-attention/layout.js'
import { denseLayout, windowLayout } from '../kernels/block-sparse-attention/patterns.js'
import { emitKernel } from '../kernels/kernel.js'
import type { GraphEdit } from '../src/graph/edit.js'
import type { Value } from '../src/graph/graph.js'
import { tensorOf } from '../src/onnx/numbers.js'
import { type Contender, contender, int, median, race, random } from './contenders.js'

interface Case {
  readonly name: string
  readonly queries: number
  readonly keys: number
  readonly heads: number
  readonly keyValueHeads: number
  readonly size: number
  readonly window: number
  readonly sinks: number
}

const prefill = (queries: number, size: number, window: number, sinks: number): Case => ({
  name: `S=${queries} d=${size} ${window ? `window ${window} + ${sinks} sinks` : 'causal'}`,
  queries,
  keys: queries,
  heads: 12,
  keyValueHeads: 12,
  size,
  window,
  sinks,
})

const cases: readonly Case[] = [
  prefill(128, 64, 0, 0),
  prefill(512, 64, 0, 0),
  prefill(1024, 64, 0, 0),
  prefill(1024, 64, 256, 64),
  prefill(2048, 64, 256, 64),
  prefill(4096, 64, 0, 0),
  prefill(4096, 64, 256, 64),
  prefill(4096, 64, 1024, 64),
  prefill(2048, 128, 0, 0),
  prefill(4096, 128, 256, 64),
  {
    name: 'decode, 8192 keys, d=64',
    queries: 1,
    keys: 8192,
    heads: 12,
    keyValueHeads: 12,
    size: 64,
    window: 0,
    sinks: 0,
  },
  {
    name: 'decode, 16384 keys, 32 heads on 8, d=128',
    queries: 1,
    keys: 16384,
    heads: 32,
    keyValueHeads: 8,
    size: 128,
    window: 0,
    sinks: 0,
  },
]

const BLOCK = 64

async function contenders(each: Case, threads: number): Promise<Contender[]> {
  const { queries: S, keys: T, heads: H, keyValueHeads: K, size: d, window, sinks } = each
  const blocks = { queries: T, keys: T, queryBlock: BLOCK, keyBlock: BLOCK }
  const layout = window
    ? windowLayout(blocks, { window, sinks, causal: true })
    : denseLayout(blocks, true)
  const { rows, columns } = layoutTensors(layout)
  const own = {
    query: random([1, H, S, d]),
    key: random([1, K, T, d]),
    value: random([1, K, T, d]),
  }
  const sparse = (change: GraphEdit, values: Readonly<Record<string, Value>>): Value[] => {
    const node = emitKernel(change, blockSparseAttention, {
      inputs: [
        values['query'],
        values['key'],
        values['value'],
        change.constant(rows),
        change.constant(columns),
      ],
      attributes: { causal: true, window, sinks, queryBlock: BLOCK, keyBlock: BLOCK },
    })
    return [node.outputs[0] as Value]
  }
  const list = [
    await contender('attnc kernel', threads, own, sparse),
    await contender('attnc body', threads, own, sparse, { kernels: false }),
  ]
  const side = 1536
  list.push(
    await contender(
      'MatMul',
      threads,
      { a: random([side, side]), b: random([side, side]) },
      (change, { a, b }) => [change.add('MatMul', [a, b])],
    ),
  )
  const fused = (op: string, values: (Value | undefined)[], change: GraphEdit, more: object) => [
    change.addNode({
      op,
      domain: 'com.microsoft',
      inputs: values,
      outputs: op === 'GroupQueryAttention' ? ['y', 'present_key', 'present_value'] : ['y'],
      attributes: { num_heads: int(H), ...more },
    }).outputs[0] as Value,
  ]
  if (S === T && H === K)
    list.push(
      await contender(
        'MHA',
        threads,
        { q: random([1, S, H * d]), k: random([1, T, K * d]), v: random([1, T, K * d]) },
        (change, { q, k, v }) =>
          fused('MultiHeadAttention', [q, k, v], change, { unidirectional: int(window ? 0 : 1) }),
      ),
    )
  const lengths = {
    past: tensorOf('int32', [1], [T - 1]),
    total: tensorOf('int32', [1], [T]),
  }
  const query = { q: random([1, S, H * d]), k: random([1, S, K * d]), v: random([1, S, K * d]) }
  const cache = S === T ? {} : { pastK: random([1, K, T - S, d]), pastV: random([1, K, T - S, d]) }
  list.push(
    await contender('GQA', threads, { ...query, ...cache, ...lengths }, (change, values) =>
      fused(
        'GroupQueryAttention',
        [
          values['q'],
          values['k'],
          values['v'],
          values['pastK'],
          values['pastV'],
          values['past'],
          values['total'],
        ],
        change,
        { kv_num_heads: int(K), ...(window ? { local_window_size: int(window) } : {}) },
      ),
    ),
  )
  return list
}

/** Pairs of queries and keys that count. */
function keptPairs({ queries, keys, window, sinks }: Case): number {
  let pairs = 0
  for (let s = 0; s < queries; s++) {
    const seen = keys - queries + s + 1
    pairs += window ? Math.min(seen, window + Math.min(sinks, Math.max(0, seen - window))) : seen
  }
  return pairs
}

const { values: flags, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    rounds: { type: 'string', default: '7' },
    threads: { type: 'string', default: '2' },
    // Time of the processor, not of the clock: for one thread on a machine that others use.
    cpu: { type: 'boolean', default: false },
  },
})
const print = (text: string): void => {
  process.stdout.write(`${text}\n`)
}

print('| case | kernel ms | of MatMul rate | body ms | MHA ms | GQA ms | ×MHA | ×GQA |')
print('|---|---|---|---|---|---|---|---|')
for (const each of cases) {
  if (positionals.length > 0 && !positionals.some((part) => each.name.includes(part))) continue
  const list = await contenders(each, Number(flags.threads))
  await race(list, { rounds: Number(flags.rounds), cpu: flags.cpu })
  const time = (name: string): number => median(list.find((one) => one.name === name)?.times ?? [])
  const kernel = time('attnc kernel')
  const matMulRate = (2 * 1536 ** 3) / time('MatMul')
  const work = keptPairs(each) * 4 * each.size * each.heads
  const bytes = 2 * each.keys * each.keyValueHeads * each.size * 4
  const rate =
    each.queries === 1
      ? `${(bytes / kernel / 1e6).toFixed(1)} GB/s`
      : `${((100 * work) / kernel / matMulRate).toFixed(0)} % of ${(matMulRate / 1e6).toFixed(0)} GFLOP/s`
  const ms = (value: number): string => (Number.isNaN(value) ? '–' : value.toFixed(2))
  const times = (value: number): string => (Number.isNaN(value) ? '–' : (value / kernel).toFixed(1))
  print(
    `| ${each.name} | ${ms(kernel)} | ${rate} | ${ms(time('attnc body'))} | ${ms(time('MHA'))} | ${ms(time('GQA'))} | ${times(time('MHA'))} | ${times(time('GQA'))} |`,
  )
  for (const { session } of list) await session.close()
}
