/** Models of opsets before 13 follow patterns too: they become models of 13, which say the same. */
import { describe, expect, it } from 'vitest'
import { edit } from '../../src/graph/edit.js'
import type { Model, Value } from '../../src/graph/graph.js'
import { readModel } from '../../src/model/model.js'
import { tensorOf } from '../../src/onnx/numbers.js'
import { examine } from '../../src/sparse/examine.js'
import { rewriteAttention } from '../../src/sparse/rewrite.js'
import { type Builder, build } from '../axes/builder.js'
import { difference, runModel } from '../zoo/compare.js'

// B batch, C hidden, H heads, D head size, S tokens
const [B, C, H, D, S] = [2, 12, 3, 4, 40]

const feeds = {
  x: tensorOf(
    'float32',
    [B, S, C],
    Float32Array.from({ length: B * S * C }, (_, i) => Math.sin(i)),
  ),
}

/** One layer as opsets 11 and 12 write it: axes and sizes are attributes, a softmax has the axis 1 unless it is told. */
const layer = (opset: number, axis: number): Model => {
  const model = build((b: Builder) => {
    const x = b.input('x', ['batch', S, C])
    const joined = b.reshape(b.linear(x, C, 3 * C), 0, S, H, 3 * D)
    const turned = b.transpose(joined, 0, 2, 1, 3)
    const parts = b.ops('Split', [turned], 3, '', { axis: 3, split: [D, D, D] })
    const [query, key, value] = parts as [Value, Value, Value]
    const scores = b.op('MatMul', [query, b.transpose(key, 0, 1, 3, 2)])
    const shares = b.op('Softmax', [b.op('Mul', [scores, b.scalar(0.5)])], { axis })
    const context = b.transpose(b.op('MatMul', [shares, value]), 0, 2, 1, 3)
    const one = b.op('Squeeze', [b.op('Unsqueeze', [b.reshape(context, 0, S, C)], { axes: [1] })], {
      axes: [1],
    })
    return b.op('Add', [x, b.linear(one, C, C)])
  })
  model.opsets.set('', opset)
  return model
}

async function followed(make: () => Model, pattern: string, as: 'slice' | 'mask') {
  const model = make()
  const [seen] = await examine(model)
  const entry = { block: 'attention.0', patterns: [pattern], masks: seen?.masks }
  edit(model.graph, 'test', (change) =>
    rewriteAttention(change, readModel(model.graph), [entry], as),
  )
  const [results] = await runModel(model, [feeds])
  return { opset: model.opsets.get(''), results: results ?? {} }
}

describe.each([11, 12])('attention of opset %i', (opset) => {
  const make = () => layer(opset, 3)

  it('is what it was where the pattern hides nothing', async () => {
    const { opset: now, results } = await followed(make, 'window:64+block:16', 'slice')
    const [dense] = await runModel(make(), [feeds])
    expect(now).toBe(13)
    expect(difference(dense ?? {}, results)).toBeLessThan(1e-5)
  })

  it('is the dense one under the pattern as a mask where it hides some', async () => {
    const sliced = await followed(make, 'window:4+block:16', 'slice')
    const masked = await followed(make, 'window:4+block:16', 'mask')
    const [dense] = await runModel(make(), [feeds])
    expect(difference(masked.results, sliced.results)).toBeLessThan(1e-5)
    expect(difference(dense ?? {}, sliced.results)).toBeGreaterThan(1e-3)
  })

  it('stays where a softmax runs over several axes, which names the node', async () => {
    await expect(examine(layer(opset, 1))).rejects.toThrow(
      /The model is of opset 1[12]; sparse attention needs 13, and ".*" \(Softmax\) means something else in it\./,
    )
  })
})
