/**
 * Whether the matrices of a model are numbers. One NaN makes every score of its layer NaN, and what goes
 * is then chance; masks with -Infinity are no matrices of a product and stay out of this.
 */
import { AttncError } from '../errors.js'
import type { Node, Value } from '../graph/graph.js'
import { fromConstant, numbersOf } from '../onnx/numbers.js'
import type { Tensor } from '../onnx/tensor.js'
import type { TransformerModel } from './model.js'

/** Reads all matrices once. Error: WEIGHT_NOT_FINITE, with the place of the first. */
export function assertFiniteWeights({ analysis }: TransformerModel): void {
  const seen = new Set<Tensor>()
  for (const { node, operands } of analysis.contractions)
    for (const { input } of operands) {
      const value = node.inputs[input]
      const tensor = value?.constant
      if (!tensor || seen.has(tensor)) continue
      seen.add(tensor)
      assertFinite(value, tensor, node)
    }
}

/** Error: WEIGHT_NOT_FINITE, with the place. */
export function assertFinite(value: Value, tensor: Tensor, reader: Node): void {
  const at = findNotFinite(tensor)
  if (at === undefined) return
  throw new AttncError(
    'WEIGHT_NOT_FINITE',
    'numeric',
    `Weight "${value.name}" [${tensor.dims}] of node "${reader.label}" is ${at.number} at element ${at.index}; nothing can be decided on such numbers.`,
    {
      suggestions: [
        'Export or download the model again; half-precision exports can overflow, and float32 ones not.',
      ],
    },
  )
}

/** bfloat16 and float8 come as bits and pass as finite; sessions refuse them before this matters. */
function findNotFinite(
  tensor: Tensor,
): { readonly index: number; readonly number: number } | undefined {
  if (!['float32', 'float64', 'float16'].includes(tensor.dataType)) return undefined
  const constant = fromConstant(tensor)
  const index = constant ? numbersOf(constant).findIndex((each) => !Number.isFinite(each)) : -1
  if (!constant || index < 0) return undefined
  return { index, number: numbersOf(constant)[index] as number }
}
