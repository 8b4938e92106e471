/**
 * Products of large matrices in double precision. ONNX Runtime multiplies them in its own thread, some
 * ten times faster than a loop here; small ones don't pay for the way there and stay.
 */
import { edit } from '../graph/edit.js'
import { Model } from '../graph/graph.js'
import type { RuntimeTensor } from '../onnx/numbers.js'
import type { RunOptions } from '../runtime/batches.js'
import { materialise } from '../runtime/materialise.js'
import { openSession } from '../runtime/session.js'

/** Row-major. */
export interface Matrix {
  readonly rows: number
  readonly columns: number
  readonly numbers: Float64Array
}

export interface Products extends AsyncDisposable {
  multiply(a: Matrix, b: Matrix): Promise<Matrix>
}

/** Multiplications below which the way to the other thread costs more than it saves. */
const smallest = 1 << 20

/** Nothing but loops: for small matrices, and what `openProducts` is compared with. */
export const plainProducts: Products = {
  multiply: async (a, b) => multiplyHere(a, b),
  [Symbol.asyncDispose]: async () => {},
}

export async function openProducts(
  options: Pick<RunOptions, 'threads' | 'signal'>,
): Promise<Products> {
  const file = materialise(productModel())
  try {
    const session = await openSession({
      ...options,
      path: file.path,
      provider: 'cpu',
      takesTurns: true,
    })
    return {
      multiply: async (a, b) => {
        if (a.rows * a.columns * b.columns < smallest) return multiplyHere(a, b)
        const { c } = await session.run({ a: tensorOf(a), b: tensorOf(b) })
        return { rows: a.rows, columns: b.columns, numbers: c?.data as Float64Array }
      },
      [Symbol.asyncDispose]: () => session.close(),
    }
  } finally {
    file.dispose()
  }
}

function productModel(): Model {
  const model = new Model('product')
  model.irVersion = 8
  model.opsets.set('', 13)
  edit(model.graph, 'attnc.product', (change) => {
    const a = change.addInput('a', 'float64', ['rows', 'inner'])
    const b = change.addInput('b', 'float64', ['inner', 'columns'])
    const c = change.add('MatMul', [a, b], { output: 'c' })
    change.setType(c, { dataType: 'float64', dims: ['rows', 'columns'] })
    change.expose(c)
  })
  return model
}

const tensorOf = ({ rows, columns, numbers }: Matrix): RuntimeTensor => ({
  dataType: 'float64',
  dims: [rows, columns],
  data: numbers,
})

function multiplyHere(a: Matrix, b: Matrix): Matrix {
  const [rows, inner, columns] = [a.rows, a.columns, b.columns]
  const c = new Float64Array(rows * columns)
  for (let i = 0; i < rows; i++)
    for (let k = 0; k < inner; k++) {
      const factor = a.numbers[i * inner + k] as number
      if (factor === 0) continue
      for (let j = 0, from = k * columns, to = i * columns; j < columns; j++, from++, to++)
        c[to] = (c[to] as number) + factor * (b.numbers[from] as number)
    }
  return { rows, columns, numbers: c }
}

export function transpose({ rows, columns, numbers }: Matrix): Matrix {
  const turned = new Float64Array(numbers.length)
  for (let i = 0; i < rows; i++)
    for (let j = 0; j < columns; j++) turned[j * rows + i] = numbers[i * columns + j] as number
  return { rows: columns, columns: rows, numbers: turned }
}
