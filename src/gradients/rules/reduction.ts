/** Reductions: the gradient is spread over what was reduced, each member with its share. */
import { fromFront } from '../../axes/rule.js'
import { intAttribute, intsAttribute, type Value } from '../../graph/graph.js'
import type { GradientContext, GradientRule } from '../gradient-rule.js'

/** Axes that are reduced, from the front; all where none are stated. */
function reducedAxes(c: GradientContext): number[] {
  const rank = c.rank(c.input(0))
  const operand = c.node.inputs[1]
  const elements = operand && c.shapes.integers(operand)?.elements
  const stated = intsAttribute(c.node, 'axes') ?? elements?.map((size) => size?.value ?? 0)
  if (stated && stated.length > 0) return stated.map((axis) => fromFront(axis, rank))
  const isNothing = intAttribute(c.node, 'noop_with_empty_axes', 0) === 1
  return isNothing ? [] : [...Array(rank).keys()]
}

/** Opens the reduced axes of a result again, as ones. */
function reopen(c: GradientContext, value: Value): Value {
  const axes = reducedAxes(c)
  if (intAttribute(c.node, 'keepdims', 1) === 1 || axes.length === 0) return value
  return c.op('Unsqueeze', [value, c.ints(...axes)])
}

const spread = (c: GradientContext, value: Value): Value =>
  c.op('Expand', [value, c.shapeOf(c.input(0))])

/** Members that were reduced into one, as a number of x's type. */
function countReduced(c: GradientContext): Value {
  const x = c.input(0)
  const sizes = reducedAxes(c).map((axis) => c.shapes.dims(x)?.[axis]?.value)
  if (sizes.every((size) => size !== undefined))
    return c.scalar(
      (sizes as number[]).reduce((product, size) => product * size, 1),
      x,
    )
  const chosen = c.op('Gather', [c.op('Shape', [x]), c.ints(...reducedAxes(c))])
  return c.op('CastLike', [c.op('ReduceProd', [chosen], { keepdims: 0 }), x])
}

/** g·factor, both opened and spread by broadcasting. */
const scaled =
  (factor: (c: GradientContext, x: Value, y: Value) => Value): GradientRule['backward'] =>
  (c) => {
    const [g, y] = [reopen(c, c.gradient(0) as Value), reopen(c, c.output(0))]
    return [c.op('Mul', [g, factor(c, c.input(0), y)])]
  }

const sum: GradientRule = { backward: (c) => [spread(c, reopen(c, c.gradient(0) as Value))] }

const mean: GradientRule = {
  backward(c) {
    const share = c.op('Div', [c.gradient(0), countReduced(c)])
    return [spread(c, reopen(c, share))]
  },
}

/** Members that equal the extreme share it. */
const extreme: GradientRule = {
  backward(c) {
    const x = c.input(0)
    const isChosen = c.op('CastLike', [c.op('Equal', [x, reopen(c, c.output(0))]), x])
    const axes = reducedAxes(c)
    const shared = c.op('ReduceSum', [isChosen, c.ints(...axes)], { keepdims: 1 })
    const share = c.op('Div', [reopen(c, c.gradient(0) as Value), shared])
    return [c.op('Mul', [isChosen, share])]
  },
}

/** A running sum turned round. */
const cumSum: GradientRule = {
  backward: (c) => [
    c.op('CumSum', [c.gradient(0), c.input(1)], {
      exclusive: intAttribute(c.node, 'exclusive', 0),
      reverse: 1 - intAttribute(c.node, 'reverse', 0),
    }),
  ],
}

export const reductionRules: Readonly<Record<string, GradientRule>> = {
  ReduceSum: sum,
  ReduceMean: mean,
  ReduceMax: extreme,
  ReduceMin: extreme,
  ReduceL1: { backward: scaled((c, x) => c.op('Sign', [x])) },
  ReduceL2: { backward: scaled((c, x, y) => c.op('Div', [x, y])) },
  ReduceSumSquare: { backward: scaled((c, x) => c.op('Mul', [x, c.scalar(2, x)])) },
  ReduceLogSum: {
    backward: scaled((c, _, y) => spread(c, c.op('Exp', [c.op('Neg', [y])]))),
  },
  ReduceLogSumExp: { backward: scaled((c, x, y) => c.op('Exp', [c.op('Sub', [x, y])])) },
  ReduceProd: { backward: scaled((c, x, y) => c.op('Div', [y, x])) },
  CumSum: cumSum,
}
