/** The gradient of broadcasting: a sum over what was repeated. */
import { AttncError } from '../errors.js'
import type { Value } from '../graph/graph.js'
import type { NodeBuilder } from '../node-builder/node-builder.js'
import type { Size } from '../shape/symbolic.js'

/**
 * Sums `gradient`, of sizes `dims`, over the axes that `target` lacks or has as a 1, whichever of it
 * shows only while running.
 */
export function unbroadcast(
  builder: NodeBuilder,
  gradient: Value,
  dims: readonly Size[] | undefined,
  target: Value,
): Value {
  const own = builder.shapes.dims(target)
  if (!dims || !own)
    throw new AttncError(
      'RANK_UNKNOWN',
      'model',
      `The gradient of "${target.name}" needs the rank of what it is read into, which is not known.`,
      { suggestions: ['Declare the shapes of the model’s inputs.'] },
    )
  const extra = dims.length - own.length
  const leading = Array.from({ length: Math.max(extra, 0) }, (_, axis) => axis)
  const result = leading.length > 0 ? builder.reduce('ReduceSum', gradient, leading, 0) : gradient
  const repeated: number[] = []
  let isOpen = false
  for (const [axis, size] of own.entries()) {
    const wide = dims[axis + extra] as Size
    if (size.equals(wide)) continue
    if (size.isOne) repeated.push(axis)
    else if (size.value === undefined) isOpen = true
  }
  const summed =
    repeated.length > 0 ? sumOver(builder, result, repeated, dims.slice(extra)) : result
  return isOpen ? sumWhereOne(builder, summed, target) : summed
}

/** Copies of which there are so few that they are added one by one. */
const few = 16

/** One short axis that others follow, as that of repeated heads: ONNX Runtime reduces those slowly on a GPU. */
function sumOver(
  builder: NodeBuilder,
  value: Value,
  axes: readonly number[],
  dims: readonly Size[],
): Value {
  const [axis = 0] = axes
  const count = dims[axis]?.value
  if (axes.length > 1 || axis === dims.length - 1 || count === undefined || count > few)
    return builder.reduce('ReduceSum', value, axes)
  const ones = builder.ints(...new Array<number>(count).fill(1))
  const names = Array.from({ length: count }, (_, index) => `${value.name}/copy${index}`)
  return builder.op('Sum', builder.outputs('Split', [value, ones], names, { axis }))
}

/** Which axes of `target` are 1 is found out while running. */
function sumWhereOne(builder: NodeBuilder, gradient: Value, target: Value): Value {
  const isOne = builder.op('Equal', [builder.op('Shape', [target]), builder.ints(1)])
  const axes = builder.op('Reshape', [builder.op('NonZero', [isOne]), builder.ints(-1)])
  return builder.op('ReduceSum', [gradient, axes], { keepdims: 1, noop_with_empty_axes: 1 })
}
