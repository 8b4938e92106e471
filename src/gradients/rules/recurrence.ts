/**
 * Recurrences. The operator gives only what it shows, so it is run once more, position by position, for
 * what lies inside; then from the last position back. Products with weights wait until all positions
 * are known.
 */
import {
  floatAttribute,
  intAttribute,
  type Node,
  stringAttribute,
  type Value,
} from '../../graph/graph.js'
import type { GradientContext, GradientRule } from '../gradient-rule.js'
import { unsupported } from '../unsupported.js'
import { type Cell, type CellParts, cells, findActivation } from './recurrent-cells.js'
import { type Run, runBack } from './recurrent-run.js'

const X = 0
const WEIGHT = 1
const RECURRENT = 2
const BIAS = 3
const LENGTHS = 4
/** Of the first state; that of an LSTM's cell follows. */
const FIRST = 5
const PEEPHOLES = 7

/** Gradients of one direction, without its axis. */
interface Direction {
  readonly x: Value | undefined
  readonly weight: Value | undefined
  readonly recurrent: Value | undefined
  readonly bias: Value | undefined
  readonly states: readonly Value[]
}

const recurrence: GradientRule = {
  backward(c) {
    const { node } = c
    const cell = cells[node.op] as Cell
    refuseOthers(c)
    const directions = directionsOf(node).map((isBackward, index) =>
      ofDirection(c, cell, index, isBackward),
    )
    const stack = (pick: (each: Direction) => Value | undefined): Value | undefined => {
      const parts = directions.flatMap((each) => {
        const value = pick(each)
        return value ? [c.op('Unsqueeze', [value, c.ints(0)])] : []
      })
      return parts.length > 1 ? c.op('Concat', parts, { axis: 0 }) : parts[0]
    }
    const toInput = directions.flatMap(({ x }) => x ?? [])
    return [
      toInput.length > 1 ? c.op('Add', toInput) : toInput[0],
      stack(({ weight }) => weight),
      stack(({ recurrent }) => recurrent),
      stack(({ bias }) => bias),
      undefined,
      ...Array.from({ length: cell.states }, (_, state) =>
        c.node.inputs[FIRST + state] ? stack(({ states }) => states[state]) : undefined,
      ),
    ]
  },
}

function refuseOthers({ node }: GradientContext): void {
  if (intAttribute(node, 'layout', 0) === 1) throw unsupported(node, 'the batch first')
  if (floatAttribute(node, 'clip', 0) > 0) throw unsupported(node, 'sums that are clipped')
  if (intAttribute(node, 'input_forget', 0) === 1)
    throw unsupported(node, 'a forget gate made of its input gate')
  if (node.op === 'LSTM' && node.inputs[PEEPHOLES]) throw unsupported(node, 'peepholes')
}

/** Of each direction, whether it begins at the last position. */
function directionsOf(node: Node): readonly boolean[] {
  const stated = stringAttribute(node, 'direction') ?? 'forward'
  if (stated === 'bidirectional') return [false, true]
  return [stated === 'reverse']
}

function ofDirection(
  c: GradientContext,
  cell: Cell,
  index: number,
  isBackward: boolean,
): Direction {
  const { node } = c
  const x = c.input(X)
  const at = c.number(index, 'int64')
  const own = (value: Value, axis = 0): Value => c.op('Gather', [value, at], { axis })
  const hidden = hiddenOf(c)
  const half = cell.gates * hidden
  const bias = node.inputs[BIAS] && own(node.inputs[BIAS])
  const biases = bias && c.outputs('Split', [bias, c.ints(half, half)], Array(2).fill(bias.name))
  const recurrent = own(c.input(RECURRENT))
  const parts: CellParts = {
    hidden,
    activations: activationsOf(node, index),
    recurrent,
    turned: turn(c, recurrent),
    bias: biases?.[1],
    one: c.scalar(1, x),
    ints: (...numbers) => c.ints(...numbers),
    isResetLast: intAttribute(node, 'linear_before_reset', 0) !== 0,
  }
  const weight = own(c.input(WEIGHT))
  const sums = c.op('MatMul', [x, turn(c, weight)])
  const toGates = biases ? c.op('Add', [sums, biases[0]]) : sums
  const state = (given: Value | undefined): Value => (given ? own(given) : noState(c, hidden))
  const states = [...Array(cell.states).keys()]
  const run: Run = {
    name: `${node.label}/gradient`,
    cell,
    parts,
    isBackward,
    toGates,
    first: states.map((each) => state(node.inputs[FIRST + each])),
    after: states.map((each) => state(c.gradient(1 + each))),
    shown: c.gradient(0) && own(c.gradient(0) as Value, 1),
    mask: maskOf(c),
    zero: c.scalar(0, x),
  }
  const { input, products, before } = runBack(c, run)
  const rows = (value: Value, width: number): Value => c.op('Reshape', [value, c.ints(-1, width)])
  const sumOf = (value: Value): Value => c.op('ReduceSum', [value, c.ints(0, 1)], { keepdims: 0 })
  const toRows = products.map(({ gradient, read }, at) => {
    const width = products.length === 1 ? half : [half - hidden, hidden][at]
    return c.op('MatMul', [turn(c, rows(gradient, width as number)), rows(read, hidden)])
  })
  const wide = turn(c, rows(input, half))
  const flat = c.op('Reshape', [x, c.op('Concat', [c.ints(-1), c.sizeAlong(x, 2)], { axis: 0 })])
  const joined = (parts: readonly Value[]): Value =>
    parts.length > 1 ? c.op('Concat', parts, { axis: 0 }) : (parts[0] as Value)
  return {
    x: c.needs(X) ? c.op('MatMul', [input, weight]) : undefined,
    weight: c.needs(WEIGHT) ? c.op('MatMul', [wide, flat]) : undefined,
    recurrent: c.needs(RECURRENT) ? joined(toRows) : undefined,
    bias:
      bias && c.needs(BIAS)
        ? joined([sumOf(input), ...products.map(({ gradient }) => sumOf(gradient))])
        : undefined,
    states: before,
  }
}

const turn = (c: GradientContext, matrix: Value): Value =>
  c.op('Transpose', [matrix], { perm: [1, 0] })

function hiddenOf(c: GradientContext): number {
  const size = intAttribute(c.node, 'hidden_size') ?? c.shapes.dims(c.input(RECURRENT))?.[2]?.value
  if (size === undefined) throw unsupported(c.node, 'an unknown number of hidden units')
  return size
}

const defaults: Readonly<Record<string, readonly string[]>> = {
  RNN: ['Tanh'],
  GRU: ['Sigmoid', 'Tanh'],
  LSTM: ['Sigmoid', 'Tanh', 'Tanh'],
}

function activationsOf(node: Node, index: number) {
  const own = defaults[node.op] as readonly string[]
  const stated = node.attributes.get('activations')
  const names =
    stated?.kind === 'strings'
      ? stated.value.map((each) => new TextDecoder().decode(each)).slice(index * own.length)
      : own
  return own.map((_, at) => {
    const name = names[at] ?? (own[at] as string)
    const found = findActivation(name)
    if (!found) throw unsupported(node, `the activation ${name}`)
    return found
  })
}

/** Zeros, [batch, hidden]. */
const noState = (c: GradientContext, hidden: number): Value => {
  const dims = c.op('Concat', [c.sizeAlong(c.input(X), 1), c.ints(hidden)], { axis: 0 })
  return c.op('Expand', [c.scalar(0, c.input(X)), dims])
}

function maskOf(c: GradientContext): Value | undefined {
  const lengths = c.node.inputs[LENGTHS]
  if (!lengths) return undefined
  const end = c.op('Reshape', [c.sizeAlong(c.input(X), 0), c.ints()])
  const range = c.op('Range', [c.number(0, 'int64'), end, c.number(1, 'int64')])
  const places = c.op('Reshape', [range, c.ints(-1, 1, 1)])
  const own = c.op('Reshape', [c.cast(lengths, 'int64'), c.ints(1, -1, 1)])
  return c.op('Less', [places, own])
}

export const recurrenceRules: Readonly<Record<string, GradientRule>> = {
  RNN: recurrence,
  GRU: recurrence,
  LSTM: recurrence,
}
