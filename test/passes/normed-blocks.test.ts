/**
 * Heads and neurons that a norm runs over may go: it leaves them out, and the projection behind it
 * answers for that.
 */
import { expect, it } from 'vitest'
import { generator } from '../../src/data/generator.js'
import type { Model, Value } from '../../src/graph/graph.js'
import { inspect } from '../../src/inspect/inspect.js'
import { readModel } from '../../src/model/model.js'
import { tensorOf } from '../../src/onnx/numbers.js'
import { type Builder, build } from '../axes/builder.js'
import { compareModels } from '../zoo/compare.js'
import { errorOfCut } from './error-of-cut.js'

// B batch, C hidden, H heads, D head size, S tokens, W neurons
const [B, C, H, D, S, W] = [4, 16, 4, 4, 6, 12]

const random = generator(11)
const numbers = Array.from({ length: B * S * C }, () => random() - 0.5)
const feeds = { x: tensorOf('float32', [B, S, C], numbers) }

/** x/√(mean x² + ε) · scale over all heads or neurons, in one node or in several. */
const norms: Record<string, (b: Builder, x: Value, size: number) => Value> = {
  'a node': (b, x, size) => b.op('LayerNormalization', [x, b.weight(size), b.weight(size)]),
  'plain operators': (b, x, size) => {
    const mean = b.op('ReduceMean', [b.op('Mul', [x, x]), b.integers(-1)], { keepdims: 1 })
    const root = b.op('Sqrt', [b.op('Add', [mean, b.scalar(1e-6)])])
    return b.op('Mul', [b.op('Div', [x, root]), b.weight(size)])
  },
}

const attention = (where: 'queries and keys' | 'what heads say', norm: string): Model =>
  build((b) => {
    const x = b.input('x', ['batch', S, C])
    const normed = (value: Value): Value => norms[norm]?.(b, value, H * D) as Value
    const split = (value: Value): Value => b.transpose(b.reshape(value, 0, S, H, D), 0, 2, 1, 3)
    const project = (): Value => b.linear(x, C, H * D)
    const made = (): Value => (where === 'queries and keys' ? normed(project()) : project())
    const [query, key] = [split(made()), split(made())]
    const scores = b.op('MatMul', [query, b.transpose(key, 0, 1, 3, 2)])
    const context = b.op('MatMul', [b.op('Softmax', [scores], { axis: -1 }), split(project())])
    const merged = b.reshape(b.transpose(context, 0, 2, 1, 3), 0, S, H * D)
    const said = where === 'queries and keys' ? merged : normed(merged)
    return b.op('Add', [x, b.linear(said, H * D, C)])
  })

it.each([
  ['queries and keys', 'a node'],
  ['queries and keys', 'plain operators'],
  ['what heads say', 'a node'],
  ['what heads say', 'plain operators'],
] as const)('heads go where %s are normed by %s', async (where, norm) => {
  const open = (): Model => attention(where, norm)
  expect((await inspect(open())).attention).toMatchObject([{ heads: H, prunable: true }])
  const choice = new Map([['layer.0.keyValueHeads', [0, 3]]])
  expect(await compareModels(open, [feeds], choice)).toBeLessThanOrEqual(1e-5)
})

it.each(Object.keys(norms))('neurons that say nothing go from a norm by %s', async (norm) => {
  const model = (): Model =>
    build((b) => {
      const x = b.input('x', ['batch', S, C])
      // The second half of the neurons is zero: without them the mean is twice as much.
      const half = generator(3)
      const inner = Array.from({ length: C * W }, (_, i) => (i % W < W / 2 ? half() - 0.5 : 0))
      const wide = b.op('MatMul', [x, b.numbers(inner, C, W)])
      const normed = norms[norm]?.(b, b.op('Relu', [wide]), W) as Value
      return b.op('Add', [x, b.linear(normed, W, C)])
    })
  const lose = (recover: 'ridge' | 'none'): Promise<number> =>
    errorOfCut(model, feeds, 5, { recover, ratio: 0.4, ridge: 1e-6, bias: true })
  expect(await lose('none')).toBeGreaterThan(3 * (await lose('ridge')))
})

it('convolutions with a norm between them are no feed-forward', () => {
  const model = build((b) => {
    const x = b.input('x', ['batch', C, S])
    const convolve = (value: Value): Value =>
      b.op('Conv', [value, b.weight(C, C / 2, 3)], { group: 2, pads: [1, 1] })
    const turned = b.transpose(convolve(x), 0, 2, 1)
    const normed = b.op('LayerNormalization', [turned, b.weight(C), b.weight(C)])
    return b.op('Add', [x, convolve(b.op('Relu', [b.transpose(normed, 0, 2, 1)]))])
  })
  expect(readModel(model.graph).feedForward).toEqual([])
})
