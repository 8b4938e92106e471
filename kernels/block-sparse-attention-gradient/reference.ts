/** The backward pass of block attention in float64, one query after the other: the specification. */
import { numbersOf, type RuntimeTensor, tensorOf } from '../../src/onnx/numbers.js'
import { type BlockAttentionAttributes, readSizes } from '../block-attention/attributes.js'
import { keysSeen } from '../block-attention/reference.js'
import { keptBlocks } from '../block-sparse-attention/kept.js'

/** Inputs in the order of the contract, checked before; gives the four outputs in the type of the query. */
export function referenceGradient(
  inputs: readonly (RuntimeTensor | undefined)[],
  attributes: BlockAttentionAttributes,
): RuntimeTensor[] {
  const [query, key, value, rows, columns, output, logSumExp, gradient] = inputs as Given
  const [keyLengths, bias] = inputs.slice(8)
  const sizes = readSizes('BlockSparseAttentionGradient', inputs, attributes)
  const { d, e } = sizes
  const masks = { query, key, value, keyLengths, bias }
  const seenBy = keysSeen(masks, sizes, attributes, keptBlocks([rows, columns], sizes, attributes))
  const [q, k, v, o, sums, g] = [query, key, value, output, logSumExp, gradient].map(
    numbersOf,
  ) as Six<Numbers>
  const [ofQuery, ofKey, ofValue] = [q, k, v].map(({ length }) => new Float64Array(length)) as [
    Float64Array,
    Float64Array,
    Float64Array,
  ]
  const rowSums = new Float64Array(sums.length)
  for (let row = 0; row < sums.length; row++) {
    for (let i = 0; i < e; i++)
      rowSums[row] = (rowSums[row] ?? 0) + (o[row * e + i] ?? 0) * (g[row * e + i] ?? 0)
    const logSum = sums[row] as number
    if (logSum === Number.NEGATIVE_INFINITY) continue
    for (const { key: at, score, slope } of seenBy(row)) {
      const probability = Math.exp(score - logSum)
      let change = -(rowSums[row] ?? 0)
      for (let i = 0; i < e; i++) {
        change += (g[row * e + i] ?? 0) * (v[at * e + i] ?? 0)
        add(ofValue, at * e + i, probability * (g[row * e + i] ?? 0))
      }
      for (let i = 0; i < d; i++) {
        add(ofQuery, row * d + i, probability * change * slope * (k[at * d + i] ?? 0))
        add(ofKey, at * d + i, probability * change * slope * (q[row * d + i] ?? 0))
      }
    }
  }
  return [
    tensorOf(query.dataType, query.dims, ofQuery),
    tensorOf(query.dataType, key.dims, ofKey),
    tensorOf(query.dataType, value.dims, ofValue),
    tensorOf('float32', logSumExp.dims, rowSums),
  ]
}

type Numbers = ReturnType<typeof numbersOf>
type Six<T> = [T, T, T, T, T, T]
/** The inputs that a node never leaves out; what it may follows. */
type Given = [...Six<RuntimeTensor>, RuntimeTensor, RuntimeTensor]

const add = (to: Float64Array, at: number, number: number): void => {
  to[at] = (to[at] ?? 0) + number
}
