/** What can't follow a pattern is said before anything is rewritten. */
import { expect, it } from 'vitest'
import { edit } from '../../src/graph/edit.js'
import type { Value } from '../../src/graph/graph.js'
import { openBranches } from '../../src/graph/open-branches.js'
import { loadModel } from '../../src/model-folder/load.js'
import { hasOpenBranches } from '../../src/rewrite/first-branch.js'
import { lighten } from '../../src/rewrite/lighten.js'
import { examine } from '../../src/sparse/examine.js'
import { type Builder, build } from '../axes/builder.js'

// C hidden, H heads, D head size, S tokens
const [C, H, D, S] = [16, 2, 8, 6]

it('two softmaxes over the same heads in one product, one taken from the other', async () => {
  const model = build((b) => {
    const x = b.input('x', ['batch', S, C])
    const split = (value: Value, heads: number): Value =>
      b.transpose(b.reshape(value, 0, S, heads, D), 0, 2, 1, 3)
    const twice = (value: Value): Value => b.op('Concat', [value, value], { axis: 1 })
    const query = twice(split(b.linear(x, C, C), H))
    const key = twice(split(b.linear(x, C, C), H))
    const scores = b.op('MatMul', [query, b.transpose(key, 0, 1, 3, 2)])
    const value = twice(split(b.linear(x, C, C), H))
    const context = b.op('MatMul', [b.op('Softmax', [scores], { axis: -1 }), value])
    const [first, second] = b.split(context, 1, 2) as [Value, Value]
    const difference = b.op('Sub', [first, b.op('Mul', [second, b.scalar(0.3)])])
    const merged = b.reshape(b.transpose(difference, 0, 2, 1, 3), 0, S, C)
    return b.op('Add', [x, b.linear(merged, C, C)])
  })
  const reasons = (await examine(model)).map(({ reason }) => reason)
  expect(reasons).toEqual([`its scores have ${2 * H} heads, of which ${H} were read`])
})

it('keys that are fewer than the queries', async () => {
  const model = build((b) => {
    const x = b.input('x', ['batch', S, C])
    const from = b.op('Slice', [x, b.integers(0), b.integers(3), b.integers(1)])
    const split = (value: Value, tokens: number): Value =>
      b.transpose(b.reshape(b.linear(value, C, C), 0, tokens, H, D), 0, 2, 1, 3)
    const key = b.transpose(split(from, 3), 0, 1, 3, 2)
    const shares = b.op('Softmax', [b.op('MatMul', [split(x, S), key])], { axis: -1 })
    const context = b.op('MatMul', [shares, split(from, 3)])
    const merged = b.reshape(b.transpose(context, 0, 2, 1, 3), 0, S, C)
    return b.op('Add', [x, b.linear(merged, C, C)])
  })
  expect((await examine(model))[0]?.reason).toBe(`it has ${S} queries for 3 keys`)
})

it.each([
  ['heads before chunks', '[batch, 2, 2, 3, 3], with further rows behind its heads'],
  ['heads and samples in one axis', '[2*batch, 2, 3, 3], with further rows behind'],
])('attention within chunks: %s', async (_, found) => {
  const model = build((b) => {
    const x = b.input('x', ['batch', S, C])
    const isFolded = found.startsWith('[2*')
    const split = (): Value => {
      const heads = b.transpose(b.reshape(b.linear(x, C, C), 0, S, H, D), 0, 2, 1, 3)
      return isFolded ? b.reshape(heads, -1, 2, S / 2, D) : b.reshape(heads, 0, H, 2, S / 2, D)
    }
    const turned = isFolded ? [0, 1, 3, 2] : [0, 1, 2, 4, 3]
    const scores = b.op('MatMul', [split(), b.transpose(split(), ...turned)])
    const context = b.op('MatMul', [b.op('Softmax', [scores], { axis: -1 }), split()])
    const merged = b.transpose(b.reshape(context, -1, H, S, D), 0, 2, 1, 3)
    return b.op('Add', [x, b.linear(b.reshape(merged, 0, S, C), C, C)])
  })
  expect((await examine(model)).map(({ reason }) => reason)).toEqual([
    expect.stringContaining(`its scores are ${found}`),
  ])
})

it('a mask that is made in the shape of an activation stays what it is', async () => {
  const model = build((b) => {
    const x = b.input('x', ['batch', S, C])
    const split = (value: Value): Value => b.transpose(b.reshape(value, 0, S, H, D), 0, 2, 1, 3)
    const query = b.linear(x, C, C)
    // [S]: which half a token is in, written into zeros that are shaped like the queries.
    const tokens = b.op('Slice', [b.op('Shape', [query]), b.integers(1), b.integers(2)])
    const zeros = b.op('ConstantOfShape', [tokens])
    const half = b.op('Add', [zeros, b.numbers([0, 0, 0, 1, 1, 1], S)])
    const column = b.op('Concat', [b.op('Shape', [half]), b.integers(1)], { axis: 0 })
    const apart = b.op('Abs', [b.op('Sub', [b.op('Reshape', [half, column]), half])])
    const mask = b.op('Mul', [apart, b.scalar(-100)])
    const key = b.transpose(split(b.linear(x, C, C)), 0, 1, 3, 2)
    const scores = b.op('Add', [b.op('MatMul', [split(query), key]), mask])
    const shares = b.op('Softmax', [scores], { axis: -1 })
    const context = b.op('MatMul', [shares, split(b.linear(x, C, C))])
    return b.op('Add', [x, b.linear(b.reshape(b.transpose(context, 0, 2, 1, 3), 0, S, C), C, C)])
  })
  expect((await examine(model)).map(({ masks }) => masks)).toEqual([{ causal: false, kept: [0] }])
})

it('attention beside a choice that has nothing to do with a cache', async () => {
  const model = build((b) => {
    const x = b.input('x', ['batch', S, C])
    const way = (factor: number) => (inner: Builder) =>
      inner.op('Mul', [inner.op('MatMul', [x, inner.weight(C, C)]), inner.scalar(factor)])
    const chosen = b.branch(b.input('condition', [], 'bool'), way(1), way(2))
    b.declare(chosen, ['batch', S, C])
    const split = (value: Value): Value => b.transpose(b.reshape(value, 0, S, H, D), 0, 2, 1, 3)
    const key = b.transpose(split(b.linear(chosen, C, C)), 0, 1, 3, 2)
    const scores = b.op('MatMul', [split(b.linear(chosen, C, C)), key])
    const shares = b.op('Softmax', [scores], { axis: -1 })
    const context = b.op('MatMul', [shares, split(b.linear(chosen, C, C))])
    return b.op('Add', [x, b.linear(b.reshape(b.transpose(context, 0, 2, 1, 3), 0, S, C), C, C)])
  })
  // As where a file is read whose branches hold the same weights.
  openBranches(model)
  expect(hasOpenBranches(model.graph)).toBe(true)
  expect((await examine(model)).map(({ reason }) => reason)).toEqual([undefined])
})

it('heads that a weight mixes behind the softmax', async () => {
  const model = build((b) => {
    const x = b.input('x', ['batch', S, C])
    const split = (): Value => b.transpose(b.reshape(b.linear(x, C, C), 0, S, H, D), 0, 2, 1, 3)
    const scores = b.op('MatMul', [split(), b.transpose(split(), 0, 1, 3, 2)])
    const shares = b.op('Softmax', [scores], { axis: -1 })
    const mixed = b.op('Conv', [shares, b.weight(H, H, 1, 1)])
    const merged = b.reshape(b.transpose(b.op('MatMul', [mixed, split()]), 0, 2, 1, 3), 0, S, C)
    return b.op('Add', [x, b.linear(merged, C, C)])
  })
  const reasons = (await examine(model)).map(({ reason }) => reason)
  expect(reasons).toEqual(['its heads are mixed before they weigh the values'])
})

it('queries of heads that share keys as rows of one product, with what to do', async () => {
  const { model } = loadModel('examples/tiny-stories/model.onnx')
  edit(model.graph, 'lighter', lighten)
  const reasons = (await examine(model)).map(({ reason }) => reason)
  expect(new Set(reasons).size).toBe(1)
  expect(reasons[0]).toContain('--no-lighten')
})
