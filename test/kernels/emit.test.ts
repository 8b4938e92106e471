import { describe, expect, it } from 'vitest'
import { blockSparseAttention } from '../../kernels/block-sparse-attention/index.js'
import { density, keptColumns } from '../../kernels/block-sparse-attention/layout.js'
import {
  neighbourhoodLayout,
  seesAlong,
  tileOrder,
} from '../../kernels/block-sparse-attention/neighbourhood.js'
import {
  denseLayout,
  dilatedLayout,
  windowLayout,
} from '../../kernels/block-sparse-attention/patterns.js'
import { inferShapes } from '../../src/shape/infer.js'
import { type AttentionCase, attentionCases, sparseNode } from './cases.js'
import { oneNode } from './one-node.js'

describe('an emitted BlockSparseAttention', () => {
  it('brings its function, its domain and a format that knows overloads', () => {
    const { model } = oneNode(sparseNode(attentionCases[1] as AttentionCase))
    expect(model.opsets.get('attnc')).toBe(1)
    expect(model.irVersion).toBeGreaterThanOrEqual(10)
    const [node] = [...model.graph.nodes()]
    expect(node && model.findFunction(node)?.body.outputs).toHaveLength(1)
  })

  it('needs opset 13', () => {
    const [each] = attentionCases
    expect(() => oneNode({ ...sparseNode(each as AttentionCase), opset: 12 })).toThrow(
      /opset 12; attnc.BlockSparseAttention needs 13/,
    )
  })

  it('has shapes that attnc infers', () => {
    const { model } = oneNode({ ...sparseNode(attentionCases[3] as AttentionCase), outputs: 2 })
    const [node] = [...model.graph.nodes()]
    const info = inferShapes(model.graph)
    expect(node?.outputs.map((output) => output && info.dims(output)?.map(String))).toEqual([
      ['1', '8', '70', '48'],
      ['1', '8', '70'],
    ])
  })

  it.each([
    [{ queryBlock: 24 }, /"query_block" is 24; expected a multiple of 16/],
    [{ window: -1 }, /"window" is -1/],
    [{ scale: Number.NaN }, /"scale" is NaN/],
  ])('refuses attributes %o', (attributes, message) => {
    expect(() => blockSparseAttention.attributes(attributes)).toThrow(message)
  })
})

describe('layouts', () => {
  const size = { queries: 256, keys: 256, queryBlock: 16, keyBlock: 16 }

  it('keep half and a diagonal when causal', () => {
    expect(density(denseLayout(size, true), 16)).toBeCloseTo((16 * 17) / 2 / 256)
  })

  it('keep the blocks that a window and its sinks touch, and no other', () => {
    const layout = windowLayout(size, { window: 17, sinks: 1, causal: true })
    // Query 160 sees 144 … 160; query 175 sees 159 … 175.
    expect([...keptColumns(layout, 0, 10)]).toEqual([0, 9, 10])
  })

  it('keep every second block when dilated by two', () => {
    const layout = dilatedLayout(size, { reach: 2, dilation: 2, causal: true })
    expect([...keptColumns(layout, 0, 9)]).toEqual([5, 7, 9])
  })
})

describe('neighbourhoods', () => {
  const grid = [9, 10]
  const pattern = { grid, window: [5, 4], stride: [1, 2], dilation: [2, 1] }

  it('follow the rule per axis: window ends where the grid does', () => {
    const seen = (query: number): number[] =>
      Array.from({ length: 9 }, (_, key) => key).filter((key) => seesAlong(pattern, 0, query, key))
    expect(seen(0)).toEqual([0, 2, 4, 6, 8])
    expect(seen(1)).toEqual([1, 3, 5, 7])
  })

  it('put every token in exactly one place of the tile order', () => {
    const order = tileOrder(grid, [4, 4])
    expect([...order].sort((a, b) => a - b)).toEqual(Array.from({ length: 90 }, (_, n) => n))
  })

  it('keep a block exactly when it holds a pair of neighbours', () => {
    const order = tileOrder(grid, [4, 4])
    const layout = neighbourhoodLayout(pattern, 16, order)
    const at = (token: number): [number, number] => [Math.floor(token / 10), token % 10]
    for (let row = 0; row < 6; row++)
      for (let column = 0; column < 6; column++) {
        const queries = [...order.subarray(row * 16, (row + 1) * 16)].map(at)
        const keys = [...order.subarray(column * 16, (column + 1) * 16)].map(at)
        const expected = queries.some((query) =>
          keys.some((key) =>
            [0, 1].every((axis) =>
              seesAlong(pattern, axis, query[axis] as number, key[axis] as number),
            ),
          ),
        )
        expect(keptColumns(layout, 0, row).includes(column)).toBe(expected)
      }
  })
})
