/** Operators that work element by element, and those that only change type or size. */
import type { Operation } from '../../../kernels/row-program/program.js'
import { floatAttribute, type Node } from '../../graph/graph.js'
import { onlyNumber } from '../../onnx/numbers.js'
import type { RowSteps } from './row-steps.js'
import type { Work, Write } from './row-work.js'

export const plain =
  (op: Operation): Write =>
  (steps, of) =>
    steps.op(op, ...of)

/** Of any number of operands, two at a time. */
const chain =
  (op: Operation): Write =>
  (steps, [first = 0, ...others]) =>
    others.reduce((all, each) => steps.op(op, all, each), first)

const same: Write = (_, [of = 0]) => of

const operators: Readonly<Record<string, Write>> = {
  Add: plain('add'),
  Sub: plain('subtract'),
  Mul: plain('multiply'),
  Div: plain('divide'),
  Neg: plain('negate'),
  Abs: plain('absolute'),
  Sqrt: plain('root'),
  Exp: plain('exponential'),
  Log: plain('logarithm'),
  Sigmoid: plain('sigmoid'),
  Tanh: plain('tanh'),
  Erf: plain('erf'),
  Sum: chain('add'),
  Min: chain('minimum'),
  Max: chain('maximum'),
  Identity: same,
  Cast: same,
  Reciprocal: (steps, [x = 0]) => steps.op('divide', steps.number(1), x),
  Relu: (steps, [x = 0]) => steps.op('maximum', x, steps.number(0)),
}

const powers: Readonly<Record<number, Write>> = {
  1: same,
  2: (steps, [x = 0]) => steps.op('multiply', x, x),
  3: (steps, [x = 0]) => steps.op('multiply', x, steps.op('multiply', x, x)),
  0.5: plain('root'),
  [-0.5]: (steps, [x = 0]) => steps.op('divide', steps.number(1), steps.op('root', x)),
}

/** x·σ(αx). */
const gated = (steps: RowSteps, x: number, alpha: number): number =>
  steps.op('multiply', x, steps.op('sigmoid', steps.op('multiply', x, steps.number(alpha))))

export function elementwiseWork(node: Node): Work | undefined {
  const [first, second, third] = node.inputs
  if (node.operatorName === 'com.microsoft.QuickGelu') {
    const alpha = floatAttribute(node, 'alpha', 1.702)
    return { write: (steps, [x = 0]) => gated(steps, x, alpha) }
  }
  if (node.domain !== '') return undefined
  const simple = operators[node.op]
  if (simple) return { write: simple }
  if (node.op === 'Clip' && second && third)
    return {
      write: (steps, [x = 0, least = 0, most = 0]) =>
        steps.op('minimum', steps.op('maximum', x, least), most),
    }
  // Of what is as large as its operand along rows, the operand is read as often as there are rows.
  if (node.op === 'Expand') return { write: same, operands: [first] }
  const power = node.op === 'Pow' ? powers[onlyNumber(second?.constant) ?? Number.NaN] : undefined
  return power && { write: power, operands: [first] }
}
