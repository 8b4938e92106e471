/** Numbers on a grid, and the kernels of ONNX Runtime held against what the codes stand for. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { generator } from '../../src/data/generator.js'
import { edit } from '../../src/graph/edit.js'
import type { Model, Value } from '../../src/graph/graph.js'
import { silentLog } from '../../src/log.js'
import type { DataType } from '../../src/onnx/data-type.js'
import { numbersOf, type RuntimeTensor, tensorOf } from '../../src/onnx/numbers.js'
import { blocksOf, dequantise, type Grid, roundToGrid } from '../../src/quantize/grid.js'
import { useIntegers } from '../../src/quantize/integers.js'
import { quantizeWeights } from '../../src/quantize/rewrite.js'
import { runBatches } from '../../src/runtime/batches.js'
import { build } from '../axes/builder.js'

const grids = fc.record({
  bits: fc.constantFrom(4 as const, 8 as const),
  block: fc.constantFrom(16, 32),
  symmetric: fc.boolean(),
})

describe('a grid', () => {
  test('has a point within half a step of every number', () => {
    const row = fc.array(fc.double({ noNaN: true, min: -1e20, max: 1e20 }), {
      minLength: 40,
      maxLength: 40,
    })
    fc.assert(
      fc.property(grids, row, fc.constantFrom('float32', 'float16'), (grid, numbers, type) => {
        // Scales of half precision end where its numbers end.
        const matrix = Float64Array.from(numbers, (each) =>
          type === 'float16' ? Math.tanh(each) : each,
        )
        const found = roundToGrid(matrix, 2, grid, type as DataType)
        const back = dequantise(found, grid)
        for (const [i, value] of matrix.entries()) {
          const place = Math.floor(i / 20) * blocksOf(20, grid) + Math.floor((i % 20) / grid.block)
          const step = found.scales[place] as number
          expect(Math.abs((back[i] as number) - value)).toBeLessThanOrEqual(0.5001 * step)
        }
      }),
      { seed: 3, numRuns: 300 },
    )
  })

  test('leaves numbers that lie on it where they are', () => {
    fc.assert(
      fc.property(grids, fc.integer({ min: 0, max: 1000 }), (grid, seed) => {
        const random = generator(seed)
        const matrix = Float64Array.from({ length: 64 }, () => random() - 0.5)
        const once = dequantise(roundToGrid(matrix, 2, grid, 'float32'), grid)
        const twice = dequantise(roundToGrid(once, 2, grid, 'float32'), grid)
        for (const [i, value] of once.entries()) expect(twice[i]).toBeCloseTo(value, 5)
      }),
      { seed: 5, numRuns: 100 },
    )
  })
})

/** A lookup and two products of one table, one through a Transpose, and a Gemm of another weight. */
function tied(type: DataType, inputs: number): Model {
  return build((b) => {
    const rows = b.input('x', ['n', inputs])
    const table = b.weight(24, inputs)
    const ids = b.op('Cast', [b.op('ReduceMax', [rows, b.integers(1)], { keepdims: 0 })], { to: 7 })
    const found = b.op('Gather', [table, ids])
    const sum = b.op('Add', [rows, found])
    const logits = b.op('MatMul', [sum, b.transpose(table, 1, 0)])
    const other = b.op('Gemm', [sum, b.weight(48, inputs), b.weight(48)], { transB: 1 })
    const both = b.op('Concat', [logits, other], { axis: 1 })
    return type === 'float32' ? both : b.op('Identity', [both])
  })
}

const outputsOf = async (
  model: Model,
  feeds: Record<string, RuntimeTensor>,
): Promise<ArrayLike<number>> => {
  const found: ArrayLike<number>[] = []
  await runBatches(model, [{ feeds }], { log: silentLog }, undefined, (results) => {
    found.push(numbersOf(Object.values(results)[0] as RuntimeTensor))
  })
  return found[0] as ArrayLike<number>
}

describe('a quantised graph computes what its codes stand for', () => {
  const cases = [4, 8].flatMap((bits) =>
    [16, 32, 128].flatMap((block) =>
      [true, false].map((symmetric) => ({ bits, block, symmetric }) as Grid),
    ),
  )
  test.each(cases)('with $bits bits, blocks of $block, symmetric $symmetric', async (grid) => {
    // 100 inputs: the last block is never full.
    const [quantised, reference] = [tied('float32', 100), tied('float32', 100)]
    for (const [model, as] of [
      [quantised, 'slice'],
      [reference, 'mask'],
    ] as const)
      edit(model.graph, 'test', (change) => {
        const weights = [...model.graph.values.values()].filter(
          (value: Value) => (value.constant?.byteLength ?? 0) > 4000,
        )
        const entries = weights.map(({ name }) => ({ name, grid, accuracy: 0 }))
        quantizeWeights(change, entries, as)
      })
    const ops = [...quantised.graph.nodes()].map(({ op }) => op)
    expect(ops.filter((op) => op === 'MatMulNBits').length).toBe(2)
    expect(ops).toContain('GatherBlockQuantized')
    expect(ops).not.toContain('Transpose')
    const random = generator(1)
    const x = tensorOf(
      'float32',
      [5, 100],
      Array.from({ length: 500 }, () => 4 * random()),
    )
    const [one, other] = [await outputsOf(quantised, { x }), await outputsOf(reference, { x })]
    const scale = Math.max(...Array.from(other, Math.abs))
    for (let i = 0; i < other.length; i++)
      expect(Math.abs((one[i] as number) - (other[i] as number))).toBeLessThan(1e-5 * scale)
  })
})

test('products of integers compute what their codes stand for, fused as ONNX Runtime does', async () => {
  const [integers, reference] = [tied('float32', 100), tied('float32', 100)]
  for (const [model, as] of [
    [integers, 'slice'],
    [reference, 'mask'],
  ] as const)
    edit(model.graph, 'test', (change) => {
      const [, other] = [...model.graph.values.values()].filter(
        (value: Value) => (value.constant?.byteLength ?? 0) > 4000,
      )
      useIntegers(change, [{ name: other?.name ?? '', low: -4, high: 9 }], as)
    })
  expect([...integers.graph.nodes()].map(({ op }) => op)).toContain('QuantizeLinear')
  const random = generator(4)
  const numbers = Array.from({ length: 500 }, () => 4 * random() - 1)
  const x = tensorOf('float32', [5, 100], numbers)
  const [one, other] = [await outputsOf(integers, { x }), await outputsOf(reference, { x })]
  const scale = Math.max(...Array.from(other, Math.abs))
  for (let i = 0; i < other.length; i++)
    expect(Math.abs((one[i] as number) - (other[i] as number))).toBeLessThan(1e-5 * scale)
})
