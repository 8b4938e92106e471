/** Operators that take one number or another: by a truth, or by the column that an index names for each row. */
import { intAttribute, type Node, type Value } from '../../graph/graph.js'
import type { ShapeInfo } from '../../shape/infer.js'
import { knownSizes } from '../../shape/known-sizes.js'
import type { Work } from './row-work.js'

export function selectionWork(node: Node, shapes: ShapeInfo): Work | undefined {
  const [first, second, third] = node.inputs
  if (node.domain !== '' || !first || !second) return undefined
  if (node.op === 'Where')
    return {
      write: (steps, [a = 0, b = 0], [condition = 0]) => steps.op('choose', condition, a, b),
      operands: [second, third],
      apart: [{ value: first, kind: 'truth' }],
    }
  const whole = knownSizes(first, shapes)
  const axis = intAttribute(node, 'axis', 0)
  if (!whole || (axis !== -1 && axis !== whole.length - 1)) return undefined
  const isOfRows = (value: Value | undefined): boolean =>
    String(value && knownSizes(value, shapes)) === String([...whole.slice(0, -1), 1])
  if (!isOfRows(second) || shapes.dataType(second) !== 'int64') return undefined
  const apart = [{ value: second, kind: 'index' }] as const
  if (node.op === 'GatherElements')
    return {
      write: (steps, [x = 0], [index = 0]) =>
        steps.op('sum', steps.op('choose', steps.atColumn(index), x, steps.number(0))),
      dims: whole,
      operands: [first],
      apart,
    }
  if (node.op !== 'ScatterElements' || !isOfRows(third) || node.attributes.has('reduction'))
    return undefined
  return {
    write: (steps, [x = 0, update = 0], [index = 0]) =>
      steps.op('choose', steps.atColumn(index), update, x),
    operands: [first, third],
    apart,
  }
}
