/**
 * GroupQueryAttention with a cache, made sparse: right where samples fill their caches, and refused
 * where they don't.
 */
import { describe, expect, it } from 'vitest'
import { edit } from '../../src/graph/edit.js'
import { Model, type Value } from '../../src/graph/graph.js'
import { numbersOf, type RuntimeTensor, tensorOf } from '../../src/onnx/numbers.js'
import { applyPart } from '../../src/plan/apply.js'
import { examine } from '../../src/sparse/examine.js'
import { Builder } from '../axes/builder.js'
import { numbers } from '../kernels/cases.js'
import { type Feeds, runModel } from '../zoo/compare.js'

const [heads, keyValueHeads, size] = [4, 2, 8]
const width = heads * size

/** One layer of attention with everything that a decoder by ONNX Runtime's builder has. */
function decoder(): Model {
  const model = new Model()
  model.opsets.set('', 18)
  model.opsets.set('com.microsoft', 1)
  model.irVersion = 10
  edit(model.graph, 'decoder', (change) => {
    const build = new Builder(change)
    const x = build.input('x', ['batch', 'length', width])
    const caches = ['pastKey', 'pastValue'].map((name) =>
      build.input(name, ['batch', keyValueHeads, 'past', size]),
    )
    const lengths = build.input('lengths', ['batch'], 'int32')
    const total = build.input('total', [], 'int32')
    const [query, key, value] = [heads, keyValueHeads, keyValueHeads].map((count) =>
      build.linear(x, width, count * size),
    )
    const { outputs } = change.addNode({
      op: 'GroupQueryAttention',
      domain: 'com.microsoft',
      inputs: [query, key, value, ...caches, lengths, total],
      outputs: ['context', 'presentKey', 'presentValue'],
      attributes: {
        num_heads: { kind: 'int', value: BigInt(heads) },
        kv_num_heads: { kind: 'int', value: BigInt(keyValueHeads) },
      },
    })
    const [context, ...presents] = outputs as Value[]
    const result = build.linear(context as Value, width, width)
    change.setType(result, { dataType: 'float32', dims: ['batch', 'length', width] })
    change.expose(result)
    for (const present of presents) {
      change.setType(present, { dataType: 'float32', dims: ['batch', keyValueHeads, 'all', size] })
      change.expose(present)
    }
  })
  return model
}

async function sparse(pattern: string): Promise<Model> {
  const model = decoder()
  const blocks = await examine(model)
  expect(blocks.map(({ reason }) => reason)).toEqual([undefined])
  const attention = blocks.map(({ key, masks }) => ({ block: key, patterns: [pattern], masks }))
  applyPart(model.graph, { slices: [], attention }, { as: 'slice' })
  return model
}

/** `lengths` are those of the samples, with the new tokens. */
function feedsOf(lengths: readonly number[], fresh: number, past: number): Feeds {
  const batch = lengths.length
  const random = (dims: readonly number[], seed: number): RuntimeTensor =>
    tensorOf(
      'float32',
      dims,
      numbers(
        dims.reduce((a, b) => a * b, 1),
        seed,
      ),
    )
  return {
    x: random([batch, fresh, width], 1),
    pastKey: random([batch, keyValueHeads, past, size], 2),
    pastValue: random([batch, keyValueHeads, past, size], 3),
    lengths: tensorOf(
      'int32',
      [batch],
      lengths.map((length) => length - 1),
    ),
    total: tensorOf('int32', [], [fresh + past]),
  }
}

/** Largest difference of the first output, of the first `real` tokens of each sample. */
async function differenceOf(pattern: string, feeds: Feeds, real: readonly number[]) {
  const [[made], [expected]] = [
    await runModel(await sparse(pattern), [feeds]),
    await runModel(decoder(), [feeds]),
  ]
  const [one, other] = [made, expected].map((each) =>
    numbersOf(Object.values(each ?? {})[0] as RuntimeTensor),
  ) as unknown as [Float32Array, Float32Array]
  const fresh = feeds['x']?.dims[1] as number
  expect(one.length).toBe(other.length)
  let largest = 0
  for (let at = 0; at < one.length; at++) {
    const token = Math.floor(at / width)
    if (token % fresh < (real[Math.floor(token / fresh)] as number))
      largest = Math.max(largest, Math.abs((one[at] ?? 0) - (other[at] ?? 0)))
  }
  return largest
}

describe('GroupQueryAttention with a cache', () => {
  it.each([
    ['a prompt', [40, 40], 40, 0],
    ['a prompt that is padded on the right', [40, 23], 40, 0],
    ['a token after a full cache', [41, 41], 1, 40],
    ['a few tokens after a full cache', [45], 5, 40],
  ])('is the same with a window as long as %s', async (_, lengths, fresh, past) => {
    const real = lengths.map((length) => length - past)
    const feeds = feedsOf(lengths, fresh, past)
    expect(await differenceOf('window:4096+block:16', feeds, real)).toBeLessThan(1e-5)
  })

  it.each([
    ['a window', 'window:8+sinks:2+block:16'],
    ['chosen blocks', 'topk:2+block:16'],
  ])('refuses samples of unequal lengths in a cache, and says why: %s', async (_, pattern) => {
    const model = await sparse(pattern)
    await expect(runModel(model, [feedsOf([41, 30], 1, 40)])).rejects.toThrow(
      /every sample has to fill the cache of ".*": sparse attention is made for samples of one length/,
    )
    expect(await runModel(model, [feedsOf([41, 41], 1, 40)])).toHaveLength(1)
  })

  it('refuses a cache with more places than tokens', async () => {
    const feeds = { ...feedsOf([21, 21], 1, 40), total: tensorOf('int32', [], [21]) }
    const model = await sparse('window:8+block:16')
    await expect(runModel(model, [feeds])).rejects.toThrow(/every sample has to fill the cache/)
  })
})
