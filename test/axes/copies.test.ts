/** Matrices of the same numbers, as of layers that share their weights, lose the same members. */
import { expect, it } from 'vitest'
import type { Model, Value } from '../../src/graph/graph.js'
import { findBlocks } from '../../src/model/block.js'
import { readModel } from '../../src/model/model.js'
import { tensorOf } from '../../src/onnx/numbers.js'
import { compareModels } from '../zoo/compare.js'
import { type Builder, build } from './builder.js'

const [C, F] = [8, 24]
const numbers = (from: number, seed: number): number[] =>
  Array.from({ length: from }, (_, at) => Math.sin(at * 1.7 + seed))

/** Two feed-forwards; each has the first matrices of its own, copied by the exporter. */
const twice = (first: (b: Builder, layer: number) => Value): Model =>
  build((b) => {
    let x = b.input('x', ['batch', 5, C])
    for (const layer of [0, 1]) {
      const wide = b.op('Relu', [b.op('MatMul', [x, first(b, layer)])])
      x = b.op('Add', [x, b.op('MatMul', [wide, b.numbers(numbers(F * C, 3 + layer), F, C)])])
    }
    return x
  })

const widths = (model: Model): (number | undefined)[] =>
  readModel(model.graph)
    .dimensions.filter(({ role }) => role === 'width')
    .map(({ layer }) => layer)

it('the same numbers twice are cut as one, and stay the same', async () => {
  const open = (): Model => twice((b) => b.numbers(numbers(C * F, 1), C, F))
  expect(widths(open())).toEqual([0])
  const choice = new Map([['layer.0.width', [0, 2, 3, 7, 11, 23]]])
  const feeds = [{ x: tensorOf('float32', [2, 5, C], numbers(2 * 5 * C, 9)) }]
  expect(await compareModels(open, feeds, choice)).toBeLessThanOrEqual(1e-5)
})

it.each([
  ['other numbers', (b: Builder, layer: number) => b.numbers(numbers(C * F, layer), C, F)],
  ['a fill', (b: Builder) => b.filled(0.25, C, F)],
  [
    'all numbers the same but the last',
    (b: Builder, layer: number) => b.numbers([...numbers(C * F - 1, 1), layer], C, F),
  ],
])('%s: each is cut by itself', (_, first) => {
  expect(widths(twice(first))).toEqual([0, 1])
})

it('copies are priced once, and none of them is re-fitted alone', () => {
  const model = build((b) => {
    let x = b.input('x', ['batch', 5, C])
    for (let layer = 0; layer < 2; layer++) {
      const [up, down] = [b.numbers(numbers(C * F, 1), C, F), b.numbers(numbers(F * C, 3), F, C)]
      x = b.op('Add', [x, b.op('MatMul', [b.op('Relu', [b.op('MatMul', [x, up])]), down])])
    }
    return x
  })
  const view = readModel(model.graph)
  const width = view.dimensions.find(({ role }) => role === 'width')
  expect(width?.parametersPerMember).toBe(2 * C)
  expect(findBlocks(view).map(({ projection }) => projection)).toEqual([undefined, undefined])
})
