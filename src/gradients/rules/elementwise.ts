/** Operators of two and more inputs that broadcast; the walk sums what was repeated. */
import type { Value } from '../../graph/graph.js'
import { onlyNumber } from '../../onnx/numbers.js'
import type { GradientContext, GradientRule } from '../gradient-rule.js'

type Backward = GradientRule['backward']

const broadcasting = (backward: Backward): GradientRule => ({ broadcasts: true, backward })
const g = (context: GradientContext): Value => context.gradient(0) as Value

/** Makes a gradient only where it is wanted. */
const each = (context: GradientContext, ...makers: readonly (() => Value)[]) =>
  makers.map((make, index) => (context.needs(index) ? make() : undefined))

const add = broadcasting((c) => c.node.inputs.map(() => g(c)))

const sub = broadcasting((c) =>
  each(
    c,
    () => g(c),
    () => c.op('Neg', [g(c)]),
  ),
)

const mul = broadcasting((c) =>
  each(
    c,
    () => c.op('Mul', [g(c), c.input(1)]),
    () => c.op('Mul', [g(c), c.input(0)]),
  ),
)

/** a/b: g/b and −g·y/b. */
const div = broadcasting((c) =>
  each(
    c,
    () => c.op('Div', [g(c), c.input(1)]),
    () => c.op('Neg', [c.op('Div', [c.op('Mul', [g(c), c.output(0)]), c.input(1)])]),
  ),
)

/** x^p: g·p·x^(p−1) and g·y·log x. */
const pow = broadcasting((c) =>
  each(
    c,
    () => powBase(c),
    () => c.op('Mul', [g(c), c.op('Mul', [c.output(0), c.op('Log', [c.input(0)])])]),
  ),
)

function powBase(c: GradientContext): Value {
  const [x, p] = [c.input(0), c.input(1)]
  if (onlyNumber(c.shapes.constant(p)) === 2)
    return c.op('Mul', [g(c), c.op('Mul', [x, c.scalar(2, x)])])
  const typed = c.shapes.dataType(p) === c.shapes.dataType(x) ? p : c.op('CastLike', [p, x])
  const lower = c.op('Pow', [x, c.op('Sub', [typed, c.scalar(1, x)])])
  return c.op('Mul', [g(c), c.op('Mul', [typed, lower])])
}

/** Max and Min: the first input that equals the result gets it all. */
const extreme = broadcasting((c) => {
  let left: Value | undefined
  return c.node.inputs.map((input, index) => {
    if (!input) return undefined
    const isChosen = c.op('Equal', [input, c.output(0)])
    const isOwn = left ? c.op('And', [isChosen, c.op('Not', [left])]) : isChosen
    left = left ? c.op('Or', [left, isChosen]) : isChosen
    return c.needs(index) ? c.op('Where', [isOwn, g(c), c.scalar(0, c.output(0))]) : undefined
  })
})

const mean = broadcasting((c) => {
  const share = c.op('Div', [g(c), c.scalar(c.node.inputs.length, c.output(0))])
  return c.node.inputs.map(() => share)
})

const where = broadcasting((c) => {
  const zero = c.scalar(0, c.output(0))
  return [
    undefined,
    c.needs(1) ? c.op('Where', [c.input(0), g(c), zero]) : undefined,
    c.needs(2) ? c.op('Where', [c.input(0), zero, g(c)]) : undefined,
  ]
})

/** x where positive, slope·x elsewhere. */
const prelu = broadcasting((c) => {
  const [x, slope] = [c.input(0), c.input(1)]
  const isPositive = c.op('Greater', [x, c.scalar(0, x)])
  return each(
    c,
    () => c.op('Where', [isPositive, g(c), c.op('Mul', [g(c), slope])]),
    () => c.op('Where', [isPositive, c.scalar(0, x), c.op('Mul', [g(c), x])]),
  )
})

export const elementwiseRules: Readonly<Record<string, GradientRule>> = {
  Add: add,
  Sum: add,
  Sub: sub,
  Mul: mul,
  Div: div,
  Pow: pow,
  Max: extreme,
  Min: extreme,
  Mean: mean,
  Where: where,
  PRelu: prelu,
}
