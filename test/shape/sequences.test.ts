/** Sequences whose members are known become Split, Slice, Gather and Concat, and say the same. */
import { expect, it } from 'vitest'
import type { Model, Value } from '../../src/graph/graph.js'
import { readModel } from '../../src/model/model.js'
import { tensorOf } from '../../src/onnx/numbers.js'
import { openSequences } from '../../src/shape/open-sequences.js'
import { type Builder, build } from '../axes/builder.js'
import { difference, runModel } from '../zoo/compare.js'

// S tokens, C hidden, H heads of D
const [S, C, H, D] = [5, 12, 3, 4]

/** Queries, keys and values of a packed product [batch, S, 3·C]. */
type Unpack = (b: Builder, packed: Value) => readonly Value[]

const at = (b: Builder, sequence: Value, place: number): Value =>
  b.op('SequenceAt', [sequence, b.whole(place)])
const three = (b: Builder, sequence: Value): Value[] =>
  [0, 1, 2].map((each) => at(b, sequence, each))

const ways: Readonly<Record<string, Unpack>> = {
  'a list of sizes': (b, packed) =>
    three(b, b.op('SplitToSequence', [packed, b.integers(C, C, C)], { axis: -1 })),
  'one size for all': (b, packed) =>
    three(b, b.op('SplitToSequence', [packed, b.whole(C)], { axis: 2 })),
  'sizes that the graph works out': (b, packed) => {
    const whole = b.op('Slice', [b.op('Shape', [packed]), b.integers(2), b.integers(3)])
    const each = b.op('Div', [whole, b.integers(3)])
    const sizes = b.op('Concat', [each, each, b.op('Sub', [whole, b.integers(2 * C)])], { axis: 0 })
    return three(b, b.op('SplitToSequence', [packed, sizes], { axis: 2 }))
  },
  'members one by one, without their axis': (b, packed) => {
    const apart = b.transpose(b.reshape(packed, 0, S, 3, C), 2, 0, 1, 3)
    return three(b, b.op('SplitToSequence', [apart], { axis: 0, keepdims: 0 }))
  },
  'members from behind, with their axis': (b, packed) => {
    const apart = b.transpose(b.reshape(packed, 0, S, 3, C), 2, 0, 1, 3)
    const sequence = b.op('SplitToSequence', [apart], { axis: 0 })
    return [0, 1, -1].map((place) => b.op('Squeeze', [at(b, sequence, place), b.integers(0)]))
  },
  'a list that is made, added to and read': (b, packed) => {
    const parts = b.split(packed, 2, 3)
    const pair = b.op('SequenceConstruct', [parts[0] as Value, parts[2] as Value])
    return three(b, b.op('SequenceInsert', [pair, parts[1] as Value, b.whole(1)]))
  },
}

const attention = (unpack: Unpack, isJoined: boolean): Model =>
  build((b) => {
    const x = b.input('x', ['batch', S, C])
    const heads = unpack(b, b.linear(x, C, 3 * C)).map((each) =>
      b.transpose(b.reshape(each, 0, S, H, D), 0, 2, 1, 3),
    )
    const [query, key, value] = heads as [Value, Value, Value]
    const scores = b.op('MatMul', [query, b.transpose(key, 0, 1, 3, 2)])
    const context = b.op('MatMul', [b.op('Softmax', [scores], { axis: -1 }), value])
    const merged = b.reshape(b.transpose(context, 0, 2, 1, 3), 0, S, C)
    const out = b.linear(merged, C, C)
    if (!isJoined) return b.op('Add', [x, out])
    const empty = b.op('SequenceEmpty', [])
    const both = [x, out].reduce((list, each) => b.op('SequenceInsert', [list, each]), empty)
    const stacked = b.op('ConcatFromSequence', [both], { axis: 0, new_axis: 1 })
    return b.op('ReduceSum', [stacked, b.integers(0)], { keepdims: 0 })
  })

it.each(
  Object.keys(ways).flatMap((name) => [false, true].map((joined) => [name, joined] as const)),
)('%s, joined by a sequence: %s', async (name, isJoined) => {
  const made = () => attention(ways[name] as Unpack, isJoined)
  const open = made()
  openSequences(open)
  const left = [...open.graph.nodes()].filter(({ op }) => op.includes('Sequence'))
  expect(left.map(({ op }) => op)).toEqual([])
  expect(readModel(open.graph).attention.map(({ heads }) => heads)).toEqual([H])
  const data = Float32Array.from({ length: 2 * S * C }, (_, i) => Math.sin(i))
  const feeds = { x: tensorOf('float32', [2, S, C], data) }
  const [[before], [after]] = [await runModel(made(), [feeds]), await runModel(open, [feeds])]
  expect(difference(before ?? {}, after ?? {})).toBeLessThan(1e-6)
})

it('what only running tells stays as it is', () => {
  const model = build((b) => {
    const x = b.input('x', ['batch', 'tokens', C])
    const sequence = b.op('SplitToSequence', [x], { axis: 1 })
    const which = b.input('which', [], 'int64')
    return b.op('Add', [
      b.op('SequenceAt', [sequence, which]),
      b.op('ConcatFromSequence', [sequence], { axis: 1 }),
    ])
  })
  openSequences(model)
  expect([...model.graph.nodes()].map(({ op }) => op)).toEqual([
    'SplitToSequence',
    'SequenceAt',
    'ConcatFromSequence',
    'Add',
  ])
})
