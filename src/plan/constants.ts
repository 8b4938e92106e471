/** Constants replaced whole, by name: what a pass trained, or folded something into. */
import { AttncError } from '../errors.js'
import type { GraphEdit } from '../graph/edit.js'
import { toConstant } from '../onnx/numbers.js'
import type { ReplacedWeight } from './plan.js'

/** Error: WEIGHT_SHAPE. */
export function setConstants(change: GraphEdit, weights: readonly ReplacedWeight[]): void {
  for (const { name, tensor } of weights) {
    const value = change.graph.values.get(name)
    const constant = value?.constant
    if (!value || !constant) throw shapeError(name, tensor, 'the model has no such constant')
    if (constant.dataType !== tensor.dataType || constant.dims.join() !== tensor.dims.join())
      throw shapeError(name, tensor, `the model's is ${constant.dataType} [${constant.dims}]`)
    change.setConstant(value, toConstant(tensor))
  }
}

const shapeError = (name: string, tensor: ReplacedWeight['tensor'], text: string): AttncError =>
  new AttncError(
    'WEIGHT_SHAPE',
    'usage',
    `The plan replaces "${name}" by ${tensor.dataType} [${tensor.dims}]; ${text}.`,
    { suggestions: ['Use the plan with the model that it was made for.'] },
  )
