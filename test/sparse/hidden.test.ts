/** However scores are hidden and probabilities cleared, attention over blocks says the same, queries that see nothing included. */
import { expect, it } from 'vitest'
import type { Model, Value } from '../../src/graph/graph.js'
import type { RuntimeTensor } from '../../src/onnx/numbers.js'
import { applyPart } from '../../src/plan/apply.js'
import { type Examined, examine } from '../../src/sparse/examine.js'
import { type Builder, build } from '../axes/builder.js'
import { difference, runModel } from '../zoo/compare.js'

// B batch, C hidden, H heads, D head size, S tokens
const [B, C, H, D, S] = [2, 12, 3, 4, 6]
const [bool, float] = [9, 1]

interface Hidden {
  /** Scores [batch, heads, queries, keys] → those, with bool [batch, 1, queries, keys] of the pairs that are seen. */
  readonly hide: (b: Builder, scores: Value, seen: Value, x: Value) => Value
  readonly clear?: (b: Builder, probabilities: Value, seen: Value) => Value
}

/** Pairs are seen where both tokens are; a query of a padded token sees nothing. */
const attention = ({ hide, clear }: Hidden): Model =>
  build((b) => {
    const x = b.input('x', ['batch', 'tokens', C])
    const mask = b.input('mask', ['batch', 'tokens'], 'int64')
    const along = (axis: number): Value => b.op('Unsqueeze', [mask, b.integers(1, axis)])
    const seen = b.op('Cast', [b.op('Mul', [along(2), along(3)])], { to: bool })
    const heads = (): Value => b.reshape(b.linear(x, C, C), 0, -1, H, D)
    const [query, key, value] = [heads(), heads(), heads()] as [Value, Value, Value]
    const scores = b.op('MatMul', [b.transpose(query, 0, 2, 1, 3), b.transpose(key, 0, 2, 3, 1)])
    const shares = b.op('Softmax', [hide(b, scores, seen, x)], { axis: -1 })
    const cleared = clear ? clear(b, shares, seen) : shares
    const context = b.op('MatMul', [cleared, b.transpose(value, 0, 2, 1, 3)])
    const joined = b.reshape(b.transpose(context, 0, 2, 1, 3), 0, -1, C)
    return b.op('Add', [x, b.linear(joined, C, C)])
  })

const not = (b: Builder, value: Value): Value => b.op('Not', [value])
const lowest = -3.4e38
const filled = (b: Builder, scores: Value, seen: Value): Value =>
  b.op('Where', [not(b, seen), b.scalar(lowest), scores])

/** What exporters make of a mask of no padding: nothing is hidden, said by a constant of its own each time. */
const folded = (b: Builder): Value => b.flags([false], 1, 1)

const ways: Record<string, Hidden> = {
  'replaced and cleared by constants of the same numbers': {
    hide: (b, scores) => b.op('Where', [folded(b), b.scalar(lowest), scores]),
    clear: (b, shares) => b.op('Where', [folded(b), b.scalar(0), shares]),
  },
  'replaced, and spread over all keys where none is seen': { hide: filled },
  'replaced, and zero after the softmax': {
    hide: filled,
    clear: (b, shares, seen) => b.op('Where', [not(b, seen), b.scalar(0), shares]),
  },
  'replaced, and cleared by a condition that says the opposite': {
    hide: filled,
    clear: (b, shares, seen) => b.op('Where', [seen, shares, b.scalar(0)]),
  },
  'replaced, and multiplied by zeros and ones': {
    hide: filled,
    clear: (b, shares, seen) => b.op('Mul', [shares, b.op('Cast', [seen], { to: float })]),
  },
  'asked for their size after the softmax': {
    hide: filled,
    clear: (b, shares) => b.op('Reshape', [shares, b.op('Shape', [shares])]),
  },
}

const feeds = (mask: readonly number[]): Record<string, RuntimeTensor> => ({
  x: {
    dataType: 'float32',
    dims: [B, S, C],
    data: Float32Array.from({ length: B * S * C }, (_, i) => Math.sin(i)),
  },
  mask: { dataType: 'int64', dims: [B, S], data: BigInt64Array.from(mask.map(BigInt)) },
})
const padded = feeds([1, 1, 1, 1, 0, 0, 0, 1, 1, 1, 1, 0])

async function expectSame(make: () => Model, few = 'window:3+block:16'): Promise<void> {
  const [block] = await examine(make())
  expect(block?.reason).toBeUndefined()
  const run = async (pattern: string, as: 'slice' | 'mask') => {
    const model = make()
    const { key, masks } = block as Examined
    const attention = [{ block: key, patterns: [pattern], masks }]
    applyPart(model.graph, { slices: [], attention }, { as })
    return (await runModel(model, [padded]))[0] ?? {}
  }
  const [dense] = await runModel(make(), [padded])
  expect(difference(await run('window:4096', 'slice'), dense ?? {})).toBeLessThan(1e-5)
  const [slice, mask] = [await run(few, 'slice'), await run(few, 'mask')]
  expect(difference(mask, dense ?? {})).toBeGreaterThan(1e-3)
  expect(difference(slice, mask)).toBeLessThan(1e-5)
}

it.each(Object.keys(ways))('scores that are %s', async (name) => {
  await expectSame(() => attention(ways[name] as Hidden))
})

it.each([[['window:3+block:16']], [['dense', 'window:3+block:16', 'window:2']], [['topk:2']]])(
  'functions of half precision are of half precision, padding and groups of heads included: %s',
  async (patterns) => {
    const half = 10
    const model = build((b) => {
      const x = b.input('x', ['batch', 'tokens', C])
      const mask = b.input('mask', ['batch', 'tokens'], 'int64')
      const narrow = (value: Value): Value => b.op('Cast', [value], { to: half })
      const linear = (value: Value): Value =>
        b.op('Add', [b.op('MatMul', [value, narrow(b.weight(C, C))]), narrow(b.weight(C))])
      const heads = (): Value => b.reshape(linear(narrow(x)), 0, -1, H, D)
      const [query, key, value] = [heads(), heads(), heads()] as [Value, Value, Value]
      const scores = b.op('MatMul', [b.transpose(query, 0, 2, 1, 3), b.transpose(key, 0, 2, 3, 1)])
      const seen = b.op('Cast', [b.op('Unsqueeze', [mask, b.integers(1, 2)])], { to: half })
      const hidden = b.op('Sub', [narrow(b.scalar(1)), seen])
      const added = b.op('Mul', [hidden, narrow(b.scalar(-60000))])
      const shares = b.op('Softmax', [b.op('Add', [scores, added])], { axis: -1 })
      const context = b.op('MatMul', [shares, b.transpose(value, 0, 2, 1, 3)])
      const joined = b.reshape(b.transpose(context, 0, 2, 1, 3), 0, -1, C)
      return b.op('Add', [x, b.op('Cast', [linear(joined)], { to: float })])
    })
    const [block] = await examine(model)
    expect([block?.reason, block?.masks?.padding]).toEqual([undefined, expect.anything()])
    const { key, masks } = block as Examined
    applyPart(
      model.graph,
      { slices: [], attention: [{ block: key, patterns, masks }] },
      { as: 'slice' },
    )
    const types = model.functions.map(({ body }) => body.inputs[0]?.type?.dataType)
    expect(new Set(types)).toEqual(new Set(['float16']))
  },
)

it('leaves probabilities alone that are cleared where their scores were seen', async () => {
  const other: Hidden = {
    hide: filled,
    clear: (b, shares, seen) => b.op('Where', [seen, b.scalar(0), shares]),
  }
  const [block] = await examine(attention(other))
  expect(block?.reason).toContain('changes its probabilities')
})

/** s·b + n·(1 − b), b of zeros and ones for causality, is a Where of b. */
const blended = (high: number): Model =>
  attention({
    hide: (b, scores) => {
      const places = Array.from({ length: 8 * 8 }, (_, i) => (i % 8 > Math.floor(i / 8) ? 0 : high))
      const size = b.op('Slice', [b.op('Shape', [scores]), b.integers(2), b.integers(4)])
      const seen = b.op('Slice', [
        b.numbers(places, 8, 8),
        b.integers(0, 0),
        size,
        b.integers(0, 1),
      ])
      const hidden = b.op('Mul', [b.op('Sub', [b.scalar(1), seen]), b.scalar(-1e4)])
      return b.op('Add', [b.op('Mul', [scores, seen]), hidden])
    },
  })

it('scores that are multiplied by zeros and ones, and pushed down where zero', async () => {
  const [block] = await examine(blended(1))
  expect(block?.masks).toEqual({ causal: true, kept: [] })
  await expectSame(() => blended(1))
  const [scaled] = await examine(blended(0.5))
  expect(scaled?.reason).toContain('stands between scores and softmax')
})

it('keeps what activations add to scores, where their size is asked for as well', async () => {
  const make = (): Model =>
    attention({
      hide: (b, scores, seen, x) => {
        const own = b.op('MatMul', [b.linear(x, C, C), b.transpose(x, 0, 2, 1)])
        const spread = b.op('Expand', [own, b.op('Shape', [own])])
        return filled(b, b.op('Add', [scores, b.op('Unsqueeze', [spread, b.integers(1)])]), seen)
      },
    })
  const [block] = await examine(make())
  expect(block?.masks?.kept).toEqual([0, 1])
  await expectSame(make)
})

it('windows of text, as many as the text has, keep their layout', async () => {
  const W = 3
  const make = (): Model =>
    build((b) => {
      const x = b.input('x', ['batch', 'tokens', C])
      const mask = b.input('mask', ['batch', 'tokens'], 'int64')
      const windows = (): Value => {
        const heads = b.reshape(b.linear(x, C, C), 0, -1, W, H, D)
        return b.transpose(heads, 0, 1, 3, 2, 4)
      }
      const [query, key, value] = [windows(), windows(), windows()] as [Value, Value, Value]
      const product = b.op('MatMul', [query, b.transpose(key, 0, 1, 2, 4, 3)])
      const shares = b.op('Softmax', [b.op('Add', [product, b.weight(1, 1, H, W, W)])], {
        axis: -1,
      })
      const context = b.transpose(b.op('MatMul', [shares, value]), 0, 1, 3, 2, 4)
      const joined = b.op('Reshape', [context, b.op('Shape', [x])])
      const used = b.op('Cast', [b.op('Unsqueeze', [mask, b.integers(2)])], { to: float })
      return b.op('Add', [used, b.op('Add', [x, b.linear(joined, C, C)])])
    })
  await expectSame(make, 'window:2+block:16')
})

it('leaves heads dense that are larger than what kernels take, and says so', async () => {
  const size = 600
  const model = build((b) => {
    const x = b.input('x', ['batch', 'tokens', C])
    const heads = (): Value => b.reshape(b.linear(x, C, 2 * size), 0, -1, 2, size)
    const [query, key, value] = [heads(), heads(), heads()] as [Value, Value, Value]
    const scores = b.op('MatMul', [b.transpose(query, 0, 2, 1, 3), b.transpose(key, 0, 2, 3, 1)])
    const shares = b.op('Softmax', [scores], { axis: -1 })
    const context = b.op('MatMul', [shares, b.transpose(value, 0, 2, 1, 3)])
    const joined = b.reshape(b.transpose(context, 0, 2, 1, 3), 0, -1, 2 * size)
    return b.op('Add', [x, b.linear(joined, 2 * size, C)])
  })
  const [block] = await examine(model)
  expect(block?.reason).toContain('600 numbers')
})

it('heads with weights of their own, stacked by their scores alone, stay and say so', async () => {
  const model = build((b) => {
    const x = b.input('x', ['batch', 'tokens', C])
    const one = (): Value => {
      const [query, key, value] = [0, 1, 2].map(() => b.linear(x, C, D)) as [Value, Value, Value]
      const scores = b.op('MatMul', [query, b.transpose(key, 0, 2, 1)])
      return b.op('MatMul', [b.op('Softmax', [scores], { axis: -1 }), value])
    }
    const joined = b.op('Concat', [one(), one(), one()], { axis: -1 })
    return b.op('Add', [x, b.linear(joined, 3 * D, C)])
  })
  const reasons = (await examine(model)).map(({ reason }) => reason)
  expect(reasons).toEqual([expect.stringContaining('other heads')])
})
