/** Masks that are one for some rows of a batch and have others apart: blocks follow patterns and keep to them. */
import { expect, it } from 'vitest'
import type { Model, Value } from '../../src/graph/graph.js'
import { tensorOf } from '../../src/onnx/numbers.js'
import { applyPart } from '../../src/plan/apply.js'
import { examine } from '../../src/sparse/examine.js'
import { type Builder, build } from '../axes/builder.js'
import { difference, type Feeds, runModel } from '../zoo/compare.js'

// B batch, R rows of an alignment or windows of an image, S tokens of each, C hidden, H heads, D head size
const [B, R, S, C, H, D] = [2, 3, 40, 8, 2, 4]

const wave = (length: number, phase = 0) =>
  Float32Array.from({ length }, (_, i) => Math.sin(1.7 * i + phase))

interface Form {
  readonly make: (b: Builder) => Value
  readonly feeds: Feeds
}

const tokens = (...dims: number[]) =>
  ({ dataType: 'float32', dims, data: wave(dims.reduce((a, b) => a * b)) }) as const

/** Scores of all rows to their context, [batch·rows or batch, rows, tokens, hidden]. */
function attend(
  b: Builder,
  x: Value,
  rows: readonly number[],
  masked: (scores: Value) => Value,
): Value {
  const rank = rows.length + 3
  const order = [...rows.keys(), rank - 2, rank - 3, rank - 1]
  const split = (): Value => b.transpose(b.reshape(b.linear(x, C, C), ...rows, S, H, D), ...order)
  const turned = [...order.keys()].map((axis) => (axis < rank - 2 ? axis : 2 * rank - 3 - axis))
  const scores = b.op('MatMul', [split(), b.transpose(split(), ...turned)])
  const shares = b.op('Softmax', [masked(scores)], { axis: -1 })
  const merged = b.transpose(b.op('MatMul', [shares, split()]), ...order)
  return b.op('Add', [x, b.linear(b.reshape(merged, ...rows, S, C), C, C)])
}

const forms: Readonly<Record<string, Form>> = {
  'windows of images, whose scores lie in rows of the batch': {
    feeds: { x: tokens(B, R * S, C) },
    make: (b) =>
      attend(b, b.reshape(b.input('x', ['batch', R * S, C]), -1, S, C), [-1], (scores) => {
        const apart = b.reshape(scores, -1, R, H, S, S)
        return b.reshape(b.op('Add', [apart, b.weight(1, R, 1, S, S)]), -1, H, S, S)
      }),
  },
  'rows of alignments, with padding of each and a bias of pairs for all': {
    feeds: {
      x: tokens(B, R, S, C),
      isThere: tensorOf(
        'int64',
        [B, R, S],
        wave(B * R * S, 1).map((each) => (each > -0.5 ? 1 : 0)),
      ),
      pairs: tokens(B, H, S, S),
    },
    make: (b) => {
      const x = b.input('x', ['batch', R, S, C])
      const isThere = b.input('isThere', ['batch', R, S], 'int64')
      const pairs = b.op('Unsqueeze', [b.input('pairs', ['batch', H, S, S]), b.integers(1)])
      const shown = b.op('Unsqueeze', [b.op('Cast', [isThere], { to: 1 }), b.integers(2, 3)])
      const hidden = b.op('Mul', [b.op('Sub', [shown, b.scalar(1)]), b.scalar(1e9)])
      return attend(b, x, [0, R], (scores) => b.op('Add', [b.op('Add', [scores, hidden]), pairs]))
    },
  },
  'relative positions along both sides of an image': {
    feeds: { x: tokens(B, S, C) },
    make: (b) =>
      attend(b, b.input('x', ['batch', S, C]), [0], (scores) => {
        const [tall, wide] = [5, S / 5]
        const apart = b.reshape(scores, -1, H, tall, wide, tall, wide)
        const rows = b.op('Add', [apart, b.weight(H, tall, wide, tall, 1)])
        return b.reshape(b.op('Add', [rows, b.weight(H, tall, wide, 1, wide)]), -1, H, S, S)
      }),
  },
  'heads in the axis of samples, all sizes fixed': {
    feeds: { x: tokens(B, S, C) },
    make: (b) => {
      const x = b.input('x', [B, S, C])
      const split = (): Value =>
        b.reshape(b.transpose(b.reshape(b.linear(x, C, C), B, S, H, D), 0, 2, 1, 3), B * H, S, D)
      const scores = b.op('MatMul', [split(), b.transpose(split(), 0, 2, 1)])
      const masked = b.op('Add', [scores, b.weight(B * H, S, S)])
      const context = b.op('MatMul', [b.op('Softmax', [masked], { axis: -1 }), split()])
      const merged = b.transpose(b.reshape(context, B, H, S, D), 0, 2, 1, 3)
      return b.op('Add', [x, b.linear(b.reshape(merged, B, S, C), C, C)])
    },
  },
  'rows of one head': {
    feeds: { x: tokens(B, R, S, C) },
    make: (b) => {
      const x = b.input('x', ['batch', R, S, C])
      const [query, key, value] = [1, 2, 3].map(() => b.linear(x, C, C)) as [Value, Value, Value]
      const scores = b.op('MatMul', [query, b.transpose(key, 0, 1, 3, 2)])
      const masked = b.op('Add', [scores, b.weight(1, R, 1, S)])
      const context = b.op('MatMul', [b.op('Softmax', [masked], { axis: -1 }), value])
      return b.op('Add', [x, b.linear(context, C, C)])
    },
  },
}

async function rewritten(model: Model, pattern: string, as: 'slice' | 'mask'): Promise<Model> {
  const blocks = await examine(model)
  expect(blocks.map(({ reason }) => reason)).toEqual([undefined])
  const attention = blocks.map(({ key, masks }) => ({ block: key, patterns: [pattern], masks }))
  applyPart(model.graph, { slices: [], attention }, { as })
  return model
}

it.each(Object.keys(forms))('%s', async (name) => {
  const { make, feeds } = forms[name] as Form
  const run = async (model: Model) => (await runModel(model, [feeds]))[0] ?? {}
  const made = async (pattern: string, as: 'slice' | 'mask') =>
    run(await rewritten(build(make), pattern, as))
  const dense = await run(build(make))
  expect(difference(dense, await made('window:1000+block:16', 'slice'))).toBeLessThan(1e-5)
  const masked = await made('window:9+block:16', 'mask')
  expect(difference(masked, await made('window:9+block:16', 'slice'))).toBeLessThan(1e-5)
  expect(difference(dense, masked)).toBeGreaterThan(1e-3)
})
