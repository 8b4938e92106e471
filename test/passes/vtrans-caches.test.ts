/** Data that fill caches of all heads: masks are learned, and what goes is judged by the masked model. */
import { expect, it } from 'vitest'
import { lossOf } from '../../passes/vtrans/judge.js'
import { generator } from '../../src/data/generator.js'
import type { Model, Value } from '../../src/graph/graph.js'
import { silentLog } from '../../src/log.js'
import { readModel } from '../../src/model/model.js'
import { tensorOf } from '../../src/onnx/numbers.js'
import { build } from '../axes/builder.js'

// B batch, T tokens, P tokens of the cache, V vocabulary, H heads of D, C hidden
const [B, T, P, V, H, D] = [3, 4, 5, 11, 4, 4]
const C = H * D

const decoder = (): Model =>
  build((b) => {
    const ids = b.input('input_ids', ['batch', 'tokens'], 'int64')
    const x = b.op('Gather', [b.weight(V, C), ids])
    const split = (): Value => b.transpose(b.reshape(b.linear(x, C, C), 0, 0, H, D), 0, 2, 1, 3)
    const [query, key, value] = [split(), split(), split()] as [Value, Value, Value]
    const [keys, values] = [key, value].map((now, at) => {
      const past = b.input(`past.${at}`, ['batch', H, 'past', D])
      const all = b.op('Concat', [past, now], { axis: 2 })
      b.expose(all)
      return all
    }) as [Value, Value]
    const scores = b.op('MatMul', [query, b.transpose(keys, 0, 1, 3, 2)])
    const context = b.op('MatMul', [b.op('Softmax', [scores], { axis: -1 }), values])
    const merged = b.reshape(b.transpose(context, 0, 2, 1, 3), 0, 0, C)
    const logits = b.linear(b.op('Add', [x, b.linear(merged, C, C)]), C, V)
    b.declare(logits, ['batch', 'tokens', V])
    return logits
  })

it.each([0, 1])('a cut is judged, at a share of %d by the whole model', async (teacherShare) => {
  const random = generator(3)
  const draw = (count: number): number[] => Array.from({ length: count }, () => random() - 0.5)
  const rows = Array.from({ length: B }, () =>
    Array.from({ length: T }, () => Math.floor(random() * V)),
  )
  const cache = () => tensorOf('float32', [B, H, P, D], draw(B * H * P * D))
  const feeds = {
    input_ids: tensorOf('int64', [B, T], rows.flat()),
    'past.0': cache(),
    'past.1': cache(),
  }
  const heldOut = [{ feeds, ids: rows, tokenMask: undefined, extras: {} }]
  const model = decoder()
  const { id } =
    readModel(model.graph).dimensions.find(({ role }) => role === 'keyValueHeads') ?? {}
  const input = { model, heldOut, log: silentLog, threads: 1 }
  const lossWithout = (remove: number[]) =>
    lossOf(input, { slices: [{ dimension: id ?? '', remove }] }, { teacherShare })
  const [all, some] = [await lossWithout([]), await lossWithout([1, 3])]
  expect(Number.isFinite(some)).toBe(true)
  expect(some).not.toBeCloseTo(all, 3)
})
