/**
 * Reverse mode as ordinary nodes of the same graph: functions and fused operators on the way are first written out,
 * then the loss is walked back to what is wanted (backward.ts). Only nodes between the two get a backward.
 */
import { AttncError } from '../errors.js'
import type { GraphEdit } from '../graph/edit.js'
import type { Value } from '../graph/graph.js'
import { needs, raiseOpset } from '../rewrite/raise-opset.js'
import { inferShapes } from '../shape/infer.js'
import { Size } from '../shape/symbolic.js'
import { activeValues, reads } from './active.js'
import { Backward, type BackwardOptions } from './backward.js'
import { findForeign, writeFunctions } from './lower/functions.js'
import { lowerFused } from './lower/lower.js'
import { fuseSwish } from './lower/swish.js'
import { missingRule } from './missing-rule.js'
import { OwnBodies } from './own-backward.js'
import { findOwnGradients, type HasKernel } from './own-gradient.js'

export interface GradientOptions extends BackwardOptions {
  /** Where attnc's attention has a kernel for its backward pass. Default: nowhere, its body is run backwards. */
  readonly hasKernel?: HasKernel | undefined
}

/**
 * Adds nodes that compute the gradient of `loss` (a scalar; undefined where `known` holds all of
 * it) with respect to each value of `wanted` (inputs, weights or intermediate values); values that
 * the loss does not depend on are left out. A model of an opset that has no sums by index yet
 * becomes one of the first that has. Errors: LOSS_NOT_SCALAR, OPSET_TOO_OLD, GRADIENT_RULE_MISSING
 * with the path to the operator.
 */
export function addGradients(
  edit: GraphEdit,
  loss: Value | undefined,
  wanted: readonly Value[],
  options: GradientOptions = {},
): ReadonlyMap<Value, Value> {
  raiseOpset(edit, needs.gradients)
  const written = writeFunctions(edit)
  const before = inferShapes(edit.graph)
  const active = activeValues(
    edit,
    before,
    wanted.map((value) => written.get(value) ?? value),
  )
  const lowered = new Map([...fuseSwish(edit, before, active, loss), ...lowerFused(edit, active)])
  const { hasKernel = () => false } = options
  const own = findOwnGradients(edit, before, active, hasKernel)
  const now = (value: Value): Value => {
    const same = written.get(value) ?? value
    const other = lowered.get(same) ?? same
    return own.replaced.get(other) ?? other
  }
  const current = wanted.map(now)
  const isActive = activeValues(edit, before, current)
  for (const node of edit.graph.nodes())
    if (findForeign(node) && reads(node, isActive)) throw missingRule(node, isActive, current)
  const bodies = new OwnBodies(edit, (node) => reads(node, isActive) && !own.nodes.has(node))
  const shapes = inferShapes(edit.graph)
  bodies.fold(shapes)
  const end = loss && now(loss)
  const dims = end && shapes.dims(end)
  const size = dims?.reduce((product, each) => product.mul(each), Size.of(1))
  if (loss && !size?.isOne)
    throw new AttncError(
      'LOSS_NOT_SCALAR',
      'usage',
      `The loss "${loss.name}" is [${dims?.join(', ') ?? 'of unknown rank'}]; it has to be one number.`,
      { suggestions: ['Take its mean or its sum.'] },
    )
  const known = new Map([...(options.known ?? [])].map(([value, own]) => [now(value), own]))
  const found = new Backward(edit, shapes, end, current, bodies, own.nodes, {
    ...options,
    known,
  }).run()
  bodies.eraseUnread()
  const gradients = new Map<Value, Value>()
  for (const [index, value] of wanted.entries()) {
    const gradient = found.get(current[index] as Value)
    if (gradient) gradients.set(value, gradient)
  }
  return gradients
}
