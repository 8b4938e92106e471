/** Trained numbers as weights of the model again: as they are, or W + A·B·scale. */
import type { Products } from '../../linear-algebra/products.js'
import { tensorOf, toConstant } from '../../onnx/numbers.js'
import type { Tensor } from '../../onnx/tensor.js'
import { cutNumbers, readNumbers, type Trainable } from '../weights/trainable.js'

export interface FoldedWeight {
  readonly name: string
  readonly tensor: Tensor
}

export async function foldTrainable(
  trainable: Trainable,
  numbers: Float32Array,
  products: Products,
): Promise<FoldedWeight[]> {
  const { method, weights } = trainable
  const scale = method.kind === 'lora' ? method.alpha / method.rank : 1
  const folded: FoldedWeight[] = []
  for (const [index, parts] of cutNumbers(trainable, numbers).entries()) {
    const { name, tensor, form } = weights[index] as Trainable['weights'][number]
    const own = form === 'whole' ? parts[0] : await addPair(products, tensor, parts, scale)
    folded.push({
      name,
      tensor: toConstant(tensorOf(tensor.dataType, tensor.dims, own as Float32Array)),
    })
  }
  return folded
}

/** W + A·B·scale for a pair A [rows, rank], B [rank, columns]. */
export async function addPair(
  products: Products,
  tensor: Tensor,
  [a = new Float32Array(), b = new Float32Array()]: readonly Float32Array[],
  scale: number,
): Promise<Float64Array> {
  const [rows = 0, columns = 0] = tensor.dims
  const rank = a.length / rows
  const { numbers } = await products.multiply(
    { rows, columns: rank, numbers: new Float64Array(a) },
    { rows: rank, columns, numbers: new Float64Array(b) },
  )
  const sum = new Float64Array(readNumbers(tensor))
  for (let at = 0; at < sum.length; at++)
    sum[at] = (sum[at] as number) + scale * (numbers[at] as number)
  return sum
}
