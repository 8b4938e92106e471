/** Work along rows as one operator: what is put together, and that the results are what they were. */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { edit, type GraphEdit } from '../../src/graph/edit.js'
import { type Attribute, Model, type Value } from '../../src/graph/graph.js'
import { type RuntimeTensor, tensorOf } from '../../src/onnx/numbers.js'
import { int64Tensor } from '../../src/onnx/tensor.js'
import { fuseRows } from '../../src/rewrite/fuse-rows/fuse-rows.js'
import { accessOf } from '../../src/rewrite/fuse-rows/row-access.js'
import { inferShapes } from '../../src/shape/infer.js'
import { largestDifference } from '../kernels/largest-difference.js'
import { runModel } from '../zoo/compare.js'

const int = (value: number): Attribute => ({ kind: 'int', value: BigInt(value) })

/** A model of x and y [2, 3, 8]; `write` returns its outputs. */
function modelOf(write: (change: GraphEdit, x: Value, y: Value) => readonly Value[]): Model {
  const model = new Model()
  model.irVersion = 8
  model.opsets.set('', 17)
  edit(model.graph, 'test', (change) => {
    const [x, y] = ['x', 'y'].map((name) => change.addInput(name, 'float32', [2, 3, 8]))
    for (const output of write(change, x as Value, y as Value)) {
      change.setType(output, { dataType: 'float32', dims: [2, 3, 8] })
      change.expose(output)
    }
  })
  return model
}

const numbers = (seed: number): RuntimeTensor =>
  tensorOf(
    'float32',
    [2, 3, 8],
    Array.from({ length: 48 }, (_, at) => Math.sin(seed + at)),
  )
const feeds = { x: numbers(1), y: numbers(2) }

/** Operators after it, and whether results stay. */
async function fused(write: Parameters<typeof modelOf>[0]): Promise<string[]> {
  const [before, after] = [modelOf(write), modelOf(write)]
  edit(after.graph, 'fused', (change) => fuseRows(change, inferShapes(after.graph), 2))
  const [expected] = await runModel(before, [feeds])
  const [found] = await runModel(after, [feeds])
  for (const [at, { data }] of Object.values(expected ?? {}).entries())
    expect(
      largestDifference(data as Float32Array, Object.values(found ?? {})[at]?.data as Float32Array),
    ).toBeLessThan(1e-6)
  return [...after.graph.nodes()].map(({ op }) => op)
}

describe('work along rows', () => {
  it('is one operator, with its sums', async () => {
    const ops = await fused((change, x, y) => {
      const sum = change.add('Add', [x, y])
      const soft = change.add('Softmax', [sum], { attributes: { axis: int(-1) } })
      return [change.add('Mul', [soft, change.add('Sigmoid', [sum])]), sum]
    })
    expect(ops).toEqual(['RowProgram'])
  })

  it('stays apart where something between needs other rows', async () => {
    const ops = await fused((change, x, y) => {
      const first = change.add('Exp', [change.add('Neg', [x])])
      // Along another axis: of all rows.
      const mean = change.add('ReduceMean', [first], {
        attributes: { axes: { kind: 'ints', value: [1n] }, keepdims: int(1) },
      })
      return [change.add('Mul', [change.add('Sub', [first, mean]), y])]
    })
    expect(ops).toEqual(['RowProgram', 'ReduceMean', 'RowProgram'])
  })

  it('takes halves that change places with it', async () => {
    const slice = (change: GraphEdit, value: Value, from: number, to: number): Value =>
      change.add('Slice', [
        value,
        ...[[from], [to], [2]].map((each) => change.constant(int64Tensor([1], each))),
      ])
    const ops = await fused((change, x, y) => {
      const half = change.add('Neg', [slice(change, x, 4, 8)])
      const turned = change.add('Concat', [half, slice(change, x, 0, 4)], {
        attributes: { axis: int(-1) },
      })
      return [change.add('Add', [change.add('Mul', [turned, y]), x])]
    })
    expect(ops).toEqual(['RowProgram'])
  })

  it('writes no more outputs of the graph than it has ports', async () => {
    const ops = await fused((change, x, y) => {
      const all = [change.add('Add', [x, y])]
      for (let at = 0; at < 8; at++) all.push(change.add('Sigmoid', [all[at]]))
      return all
    })
    expect(ops).toContain('RowProgram')
  })

  it('is left where it is one pass only', async () => {
    expect(await fused((change, x, y) => [change.add('Add', [x, y])])).toEqual(['Add'])
  })
})

describe('how a row is read', () => {
  it('is what broadcasting says', () => {
    const sizes = fc.array(fc.integer({ min: 1, max: 4 }), { minLength: 1, maxLength: 4 })
    const shrink = fc.array(fc.boolean(), { minLength: 4, maxLength: 4 })
    fc.assert(
      fc.property(sizes, shrink, fc.nat(3), (whole, isOne, dropped) => {
        const own = whole.map((size, axis) => (isOne[axis] ? 1 : size)).slice(dropped)
        const access = accessOf(own, whole)
        if (!access) return
        const columns = whole.at(-1) as number
        const rows = whole.slice(0, -1).reduce((product, size) => product * size, 1)
        for (let row = 0; row < rows; row++)
          for (let column = 0; column < columns; column++) {
            let [rest, place, stride] = [row * columns + column, 0, 1]
            for (let axis = whole.length - 1; axis >= 0; axis--) {
              const at = rest % (whole[axis] as number)
              rest = Math.floor(rest / (whole[axis] as number))
              const size = own[axis - whole.length + own.length] ?? 1
              if (size > 1) place += at * stride
              stride *= size
            }
            const line = Math.floor(row / access.repeats) % access.count
            expect(line * access.columns + (column % access.columns)).toBe(place)
          }
      }),
      { seed: 1, numRuns: 400 },
    )
  })

  it.each([
    [[8, 1, 4], [8, 3, 4], { count: 8, repeats: 3, columns: 4 }],
    [[1, 3, 4], [8, 3, 4], { count: 3, repeats: 1, columns: 4 }],
    [[4], [8, 3, 4], { count: 1, repeats: 1, columns: 4 }],
    [[8, 3, 1], [8, 3, 4], { count: 24, repeats: 1, columns: 1 }],
    [[2, 1, 3, 4], [2, 5, 3, 4], undefined],
    [[8, 3, 2], [8, 3, 4], undefined],
  ])('%j beside %j', (own, whole, expected) => {
    expect(accessOf(own, whole)).toEqual(expected)
  })
})
