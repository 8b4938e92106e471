/** Trained numbers as weights of the model again: as they are, or W + A·B·scale. */
import { tensorOf, toConstant } from '../onnx/numbers.js'
import type { Tensor } from '../onnx/tensor.js'
import { cutNumbers, readNumbers, type Trainable } from './trainable.js'

export interface FoldedWeight {
  readonly name: string
  readonly tensor: Tensor
}

export function foldTrainable(trainable: Trainable, numbers: Float32Array): FoldedWeight[] {
  const { method, weights } = trainable
  const scale = method.kind === 'lora' ? method.alpha / method.rank : 1
  return cutNumbers(trainable, numbers).map((parts, index) => {
    const { name, tensor, form } = weights[index] as Trainable['weights'][number]
    const folded = form === 'whole' ? (parts[0] as Float32Array) : addPair(tensor, parts, scale)
    return { name, tensor: toConstant(tensorOf(tensor.dataType, tensor.dims, folded)) }
  })
}

/** W + A·B·scale for a pair A [rows, rank], B [rank, columns]. */
export function addPair(
  tensor: Tensor,
  [a = new Float32Array(), b = new Float32Array()]: readonly Float32Array[],
  scale: number,
): Float64Array {
  const [rows = 0, columns = 0] = tensor.dims
  const rank = a.length / rows
  const sum = Float64Array.from(readNumbers(tensor))
  for (let i = 0; i < rows; i++)
    for (let k = 0; k < rank; k++) {
      const factor = scale * (a[i * rank + k] as number)
      for (let j = 0; j < columns; j++)
        sum[i * columns + j] =
          (sum[i * columns + j] as number) + factor * (b[k * columns + j] as number)
    }
  return sum
}
