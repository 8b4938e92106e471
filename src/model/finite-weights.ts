/**
 * Whether the matrices of a model are numbers. One NaN makes every score of its layer NaN, and what goes
 * is then chance; masks with -Infinity are no matrices of a product and stay out of this.
 */
import { AttncError } from '../errors.js'
import type { Node, Value } from '../graph/graph.js'
import { fromConstant, numbersOf } from '../onnx/numbers.js'
import type { Tensor } from '../onnx/tensor.js'
import type { TransformerModel } from './model.js'

interface Matrix {
  readonly value: Value
  readonly tensor: Tensor
  readonly reader: Node
}

/** Reads all matrices once. Error: WEIGHT_NOT_FINITE, with the place of the first. */
export function assertFiniteWeights(view: TransformerModel): void {
  for (const each of matricesOf(view)) assertFinite(each)
}

/** Each once, with the first node that multiplies by it. */
export function* matricesOf({ analysis }: TransformerModel): IterableIterator<Matrix> {
  const seen = new Set<Tensor>()
  for (const { node, operands } of analysis.contractions)
    for (const { input } of operands) {
      const value = node.inputs[input]
      const tensor = value?.constant
      if (!tensor || seen.has(tensor)) continue
      seen.add(tensor)
      yield { value, tensor, reader: node }
    }
}

/** Error: WEIGHT_NOT_FINITE, with the place. */
export function assertFinite({ value, tensor, reader }: Matrix): void {
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
  const numbers = constant ? numbersOf(constant) : []
  // Zero times what is not finite is not zero; looking for the place takes longer than knowing that there is one.
  let zero = 0
  for (let i = 0; i < numbers.length; i++) zero += 0 * (numbers[i] as number)
  if (zero === 0) return undefined
  const index = numbers.findIndex((each) => !Number.isFinite(each))
  return { index, number: numbers[index] as number }
}
