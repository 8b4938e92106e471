/** A decoder of one layer with a cache: two heads of eight numbers share keys and values. */
import type { Model, Value } from '../../src/graph/graph.js'
import { type Builder, build } from '../axes/builder.js'

export const VOCABULARY = 16
const [heads, size] = [2, 8]
const width = heads * size

export interface CachedOptions {
  /** How much less tokens count for each place that they are further away. */
  readonly slope?: number
}

export function cachedDecoder({ slope = 0 }: CachedOptions = {}): Model {
  return build((b) => {
    const ids = b.input('input_ids', ['batch', 'sequence'], 'int64')
    const pasts = ['key', 'value'].map((part) =>
      b.input(`past_${part}`, ['batch', 1, 'past', size]),
    )
    const table = b.weight(VOCABULARY, width)
    const x = b.op('Gather', [table, ids], { axis: 0 })
    const project = (count: number): Value => {
      const whole = b.op('MatMul', [b.op('Mul', [x, b.scalar(4)]), b.weight(width, count * size)])
      return b.transpose(b.reshape(whole, 0, 0, count, size), 0, 2, 1, 3)
    }
    const query = project(heads)
    const [key, value] = pasts.map((past) => b.op('Concat', [past, project(1)], { axis: 2 })) as [
      Value,
      Value,
    ]
    const product = b.op('MatMul', [query, b.transpose(key, 0, 1, 3, 2)])
    const scores = b.op('Add', [
      b.op('Mul', [product, b.scalar(size ** -0.5)]),
      mask(b, ids, key, slope),
    ])
    const context = b.op('MatMul', [b.op('Softmax', [scores], { axis: -1 }), value])
    const told = b.reshape(b.transpose(context, 0, 2, 1, 3), 0, 0, width)
    const said = b.op('Add', [x, b.op('MatMul', [told, b.weight(width, width)])])
    const logits = b.op('MatMul', [b.op('Mul', [said, b.scalar(4)]), b.weight(width, VOCABULARY)])
    b.declare(logits, ['batch', 'sequence', VOCABULARY])
    for (const present of [key, value]) {
      b.declare(present, ['batch', 1, undefined, size])
      b.expose(present)
    }
    return logits
  })
}

/** [S, T]: what comes later is hidden, and what is far counts less. */
function mask(b: Builder, ids: Value, key: Value, slope: number): Value {
  const [length, total] = [b.pick(b.op('Shape', [ids]), 0, 1), b.pick(b.op('Shape', [key]), 0, 2)]
  const range = (from: Value, to: Value): Value => b.op('Range', [from, to, b.whole(1)])
  const rows = b.op('Unsqueeze', [range(b.op('Sub', [total, length]), total), b.integers(1)])
  const away = b.op('Cast', [b.op('Sub', [range(b.whole(0), total), rows])], { to: 1 })
  const isSeen = b.op('LessOrEqual', [away, b.scalar(0)])
  return b.op('Where', [isSeen, b.op('Mul', [away, b.scalar(slope)]), b.scalar(-1e4)])
}
