/** Operators that sum along rows, or divide rows by what they sum to. */
import { floatAttribute, intAttribute, intsAttribute, type Node } from '../../graph/graph.js'
import type { ShapeInfo } from '../../shape/infer.js'
import { knownIntegers } from '../../shape/known-integers.js'
import { knownSizes } from '../../shape/known-sizes.js'
import { plain } from './elementwise-work.js'
import type { RowSteps } from './row-steps.js'
import type { Work, Write } from './row-work.js'

/** Since this version softmax is along one axis. */
const SOFTMAX_ALONG_AXIS = 13

/** `dims`: of the output. */
export function alongRows(
  node: Node,
  shapes: ShapeInfo,
  dims: readonly number[],
): Work | undefined {
  const [first, second] = node.inputs
  const whole = first && knownSizes(first, shapes)
  if (node.domain !== '' || !whole) return undefined
  const isLast = (axis: number | undefined): boolean => axis === -1 || axis === whole.length - 1
  const columns = dims.at(-1) as number
  switch (node.op) {
    case 'ReduceSum':
    case 'ReduceMax':
    case 'ReduceMean': {
      const axes = intsAttribute(node, 'axes') ?? (second && knownIntegers(second, shapes))
      if (axes?.length !== 1 || !isLast(axes[0]) || intAttribute(node, 'keepdims', 1) === 0)
        return undefined
      return { write: reductions[node.op], dims: whole, operands: [first] }
    }
    case 'Softmax':
    case 'LogSoftmax': {
      const isAlong = (node.graph.model.opsets.get('') ?? 0) >= SOFTMAX_ALONG_AXIS
      if (!isAlong || !isLast(intAttribute(node, 'axis', -1))) return undefined
      return { write: node.op === 'Softmax' ? softmax : logSoftmax }
    }
    case 'SimplifiedLayerNormalization': {
      if (!isLast(intAttribute(node, 'axis', -1))) return undefined
      const epsilon = floatAttribute(node, 'epsilon', 1e-5)
      return {
        write(steps, [x = 0, scale = 0]) {
          const square = steps.op('sum', steps.op('multiply', x, x))
          const mean = steps.op('divide', square, steps.number(columns))
          const root = steps.op('root', steps.op('add', mean, steps.number(epsilon)))
          return steps.op('multiply', steps.op('divide', x, root), scale)
        },
      }
    }
    default:
      return undefined
  }
}

const reductions: Readonly<Record<'ReduceSum' | 'ReduceMax' | 'ReduceMean', Write>> = {
  ReduceSum: plain('sum'),
  ReduceMax: plain('largest'),
  ReduceMean: (steps, [x = 0]) =>
    steps.op('divide', steps.op('sum', x), steps.number(steps.columns)),
}

/** x − its largest, and the sum of the exponentials of that. */
function shifted(steps: RowSteps, x: number): readonly [number, number] {
  const lower = steps.op('subtract', x, steps.op('largest', x))
  return [lower, steps.op('sum', steps.op('exponential', lower))]
}

const softmax: Write = (steps, [x = 0]) => {
  const [lower, sum] = shifted(steps, x)
  return steps.op('divide', steps.op('exponential', lower), sum)
}

const logSoftmax: Write = (steps, [x = 0]) => {
  const [lower, sum] = shifted(steps, x)
  return steps.op('subtract', lower, steps.op('logarithm', sum))
}
