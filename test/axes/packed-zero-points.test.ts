/** Zero points of 4-bit weights lie two in a byte: those of blocks that stay are packed again, however few bytes there are. */
import { expect, it } from 'vitest'
import { generator } from '../../src/data/generator.js'
import type { Value } from '../../src/graph/graph.js'
import { countParameters } from '../../src/inspect/parameters.js'
import { readModel } from '../../src/model/model.js'
import { tensorOf } from '../../src/onnx/numbers.js'
import { compareModels } from '../zoo/compare.js'
import { type Builder, build } from './builder.js'

// C hidden, S tokens, 32 neurons a block
const [C, S, BLOCK] = [16, 3, 32]

function project(b: Builder, x: Value, width: number, isFlat: boolean): Value {
  const random = generator(5)
  const draw = (count: number) => Array.from({ length: count }, () => Math.floor(random() * 256))
  const blocks = width / BLOCK
  const bytes = Math.ceil(blocks / 2)
  const scales = Array.from({ length: C * blocks }, () => 0.01 + 0.02 * random())
  const inputs = [
    x,
    b.bytes(draw((C * width) / 2), C, blocks, BLOCK / 2),
    b.numbers(scales, ...(isFlat ? [C * blocks] : [C, blocks])),
    b.bytes(draw(C * bytes), ...(isFlat ? [C * bytes] : [C, bytes])),
  ]
  const settings = { K: width, N: C, bits: 4, block_size: BLOCK }
  return b.ops('MatMulNBits', inputs, 1, 'com.microsoft', settings)[0] as Value
}

const numbers = Array.from({ length: 2 * S * C }, (_, i) => Math.sin(i))
const feeds = [{ x: tensorOf('float32', [2, S, C], numbers) }]

const make = (blocks: number, isFlat: boolean) => () =>
  build((b) => {
    const x = b.input('x', ['batch', S, C])
    const wide = b.op('Relu', [b.linear(x, C, blocks * BLOCK)])
    return b.op('Add', [x, project(b, wide, blocks * BLOCK, isFlat)])
  })

it.each([2, 3, 4, 5].flatMap((blocks) => [false, true].map((isFlat) => [blocks, isFlat] as const)))(
  '%i blocks, flat: %s',
  async (blocks, isFlat) => {
    const model = make(blocks, isFlat)
    const { dimensions } = readModel(model().graph)
    const width = dimensions.find(({ size }) => size === blocks * BLOCK)
    if (blocks === 2 && isFlat) {
      // One byte for each column is no axis that could hold two blocks.
      expect(width?.reasons.map(({ text }) => text)).toContain(
        'zero points of several of its blocks share a byte',
      )
      return
    }
    for (let gone = 0; gone < blocks; gone++) {
      const all = Array.from({ length: blocks * BLOCK }, (_, i) => i)
      const keep = all.filter((member) => Math.floor(member / BLOCK) !== gone)
      const choice = new Map([[width?.id ?? '', keep]])
      expect(await compareModels(model, feeds, choice)).toBeLessThan(1e-5)
    }
  },
)

it.each([false, true])('one block stays whole, and says so; flat: %s', (isFlat) => {
  const { dimensions } = readModel(make(1, isFlat)().graph)
  const width = dimensions.find(({ size }) => size === BLOCK)
  expect(width?.reasons.map(({ text }) => text)).toContain('its members share one block of bytes')
})

it('weights whose blocks run on from row to row are read, and stay', () => {
  const heads = 4
  const model = build((b) => {
    const x = b.input('x', ['batch', S, C])
    const project = (code: number): Value => {
      const inputs = [x, b.bytes(new Array((C * C) / 2).fill(code), (C * C) / 2), b.weight(8)]
      const settings = { K: C, N: C, block_size: BLOCK, quant_type: 1 }
      return b.ops('MatMulBnb4', inputs, 1, 'com.microsoft', settings)[0] as Value
    }
    const split = (code: number): Value => b.reshape(project(code), 0, 0, heads, -1)
    const [query, key, value] = [split(7), split(8), split(9)] as [Value, Value, Value]
    const scores = b.op('MatMul', [b.transpose(query, 0, 2, 1, 3), b.transpose(key, 0, 2, 3, 1)])
    const shares = b.op('Softmax', [scores], { axis: -1 })
    const context = b.op('MatMul', [shares, b.transpose(value, 0, 2, 1, 3)])
    const merged = b.reshape(b.transpose(context, 0, 2, 1, 3), 0, 0, -1)
    return b.op('Add', [x, b.linear(merged, C, C)])
  })
  const { attention, analysis } = readModel(model.graph)
  expect(countParameters(analysis)).toBe(4 * C * C + C)
  expect(attention.map((block) => block.heads)).toEqual([heads])
  const reasons = readModel(model.graph).dimensions.flatMap((each) => each.reasons)
  expect(reasons.map(({ text }) => text)).toContain('its 4-bit blocks run on from row to row')
})
