/**
 * One position of each recurrence, forwards and backwards, as ONNX defines them. Sums before the gates
 * are [batch, gates·hidden]; what the input adds to them is worked out for all positions at once, outside.
 */
import type { Value } from '../../graph/graph.js'
import type { NodeBuilder } from '../../node-builder/node-builder.js'

/** Derivative by what an activation gives. */
type Activation = {
  readonly run: (b: NodeBuilder, x: Value) => Value
  readonly slope: (b: NodeBuilder, y: Value, one: Value) => Value
}

const activations: Readonly<Record<string, Activation>> = {
  Sigmoid: {
    run: (b, x) => b.op('Sigmoid', [x]),
    slope: (b, y, one) => b.op('Mul', [y, b.op('Sub', [one, y])]),
  },
  Tanh: {
    run: (b, x) => b.op('Tanh', [x]),
    slope: (b, y, one) => b.op('Sub', [one, b.op('Mul', [y, y])]),
  },
  Relu: {
    run: (b, x) => b.op('Relu', [x]),
    slope: (b, y, one) => b.op('Min', [b.op('Sign', [y]), one]),
  },
}

export const findActivation = (name: string): Activation | undefined => activations[name]

export interface CellParts {
  readonly hidden: number
  /** Of the gates, what is remembered and what is given, as the operator lists them. */
  readonly activations: readonly Activation[]
  /** [hidden, gates·hidden]: what the last state is multiplied with. */
  readonly turned: Value
  /** The same as it is stored: [gates·hidden, hidden]. */
  readonly recurrent: Value
  /** [gates·hidden], where there is one. */
  readonly bias: Value | undefined
  readonly one: Value
  readonly ints: (...numbers: readonly number[]) => Value
  /** GRU: the last state meets its weights before the reset gate. */
  readonly isResetLast: boolean
}

/** Rows of the recurrent weights that were multiplied with `read`, and the gradient of the product. */
export interface RecurrentProduct {
  readonly gradient: Value
  readonly read: Value
}

export interface Cell {
  readonly gates: number
  readonly states: number
  /** From what the input adds and the states before; `kept` is what `back` reads. */
  forward(
    b: NodeBuilder,
    input: Value,
    states: readonly Value[],
    parts: CellParts,
  ): { readonly states: readonly Value[]; readonly kept: readonly Value[] }
  /**
   * From the gradients of the states after to those before, of the sums of the input, and of
   * products, in the order of their rows.
   */
  back(
    b: NodeBuilder,
    gradients: readonly Value[],
    before: readonly Value[],
    kept: readonly Value[],
    parts: CellParts,
  ): {
    readonly states: readonly Value[]
    readonly input: Value
    readonly products: readonly RecurrentProduct[]
  }
}

const times = (b: NodeBuilder, ...factors: readonly Value[]): Value =>
  factors.reduce((product, each) => b.op('Mul', [product, each]))

const plus = (b: NodeBuilder, ...terms: readonly Value[]): Value =>
  terms.reduce((sum, each) => b.op('Add', [sum, each]))

/** What the last state adds to all gates. */
function recur(b: NodeBuilder, state: Value, { turned, bias }: CellParts): Value {
  const product = b.op('MatMul', [state, turned])
  return bias ? b.op('Add', [product, bias]) : product
}

function splitGates(b: NodeBuilder, sums: Value, sizes: readonly number[], parts: CellParts) {
  const names = sizes.map(() => `${sums.name}/gate`)
  return b.outputs('Split', [sums, parts.ints(...sizes)], names, { axis: -1 })
}

const join = (b: NodeBuilder, parts: readonly Value[]): Value =>
  parts.length === 1 ? (parts[0] as Value) : b.op('Concat', parts, { axis: -1 })

/** h′ = f(x + h·Rᵀ). */
const plain: Cell = {
  gates: 1,
  states: 1,
  forward(b, input, [h], parts) {
    const [f] = parts.activations as [Activation]
    const next = f.run(b, plus(b, input, recur(b, h as Value, parts)))
    return { states: [next], kept: [next] }
  },
  back(b, [g], [h], [next], parts) {
    const [f] = parts.activations as [Activation]
    const sum = times(b, g as Value, f.slope(b, next as Value, parts.one))
    return {
      states: [b.op('MatMul', [sum, parts.recurrent])],
      input: sum,
      products: [{ gradient: sum, read: h as Value }],
    }
  },
}

/** Gates i, o, f, c: c′ = f·c + i·g, h′ = o·tanh(c′). */
const longShort: Cell = {
  gates: 4,
  states: 2,
  forward(b, input, [h, c], parts) {
    const { hidden } = parts
    const [f, g, out] = parts.activations as [Activation, Activation, Activation]
    const sums = plus(b, input, recur(b, h as Value, parts))
    const [three, last] = splitGates(b, sums, [3 * hidden, hidden], parts) as [Value, Value]
    const gates = f.run(b, three)
    const fresh = g.run(b, last)
    const [i, o, forget] = splitGates(b, gates, [hidden, hidden, hidden], parts) as Value[]
    const next = plus(b, times(b, forget as Value, c as Value), times(b, i as Value, fresh))
    const shown = out.run(b, next)
    return { states: [times(b, o as Value, shown), next], kept: [gates, fresh, shown] }
  },
  back(b, [gh, gc], [h, c], [gates, fresh, shown], parts) {
    const { hidden, one } = parts
    const [f, g, out] = parts.activations as [Activation, Activation, Activation]
    const names = [hidden, hidden, hidden]
    const [i, o, forget] = splitGates(b, gates as Value, names, parts) as [Value, Value, Value]
    const inside = times(b, gh as Value, o, out.slope(b, shown as Value, one))
    const cell = plus(b, gc as Value, inside)
    const outer = join(b, [
      times(b, cell, fresh as Value),
      times(b, gh as Value, shown as Value),
      times(b, cell, c as Value),
    ])
    const gated = times(b, outer, f.slope(b, gates as Value, one))
    const sum = join(b, [gated, times(b, cell, i, g.slope(b, fresh as Value, one))])
    return {
      states: [b.op('MatMul', [sum, parts.recurrent]), times(b, cell, forget)],
      input: sum,
      products: [{ gradient: sum, read: h as Value }],
    }
  },
}

/** Gates z, r, h: h′ = (1 − z)·n + z·h. */
const gated: Cell = {
  gates: 3,
  states: 1,
  forward(b, input, [h], parts) {
    const { hidden, isResetLast } = parts
    const [f, g] = parts.activations as [Activation, Activation]
    const cut = [2 * hidden, hidden]
    const [own, ownFresh] = splitGates(b, input, cut, parts) as [Value, Value]
    const [again, againFresh] = splitGates(b, recur(b, h as Value, parts), cut, parts) as Value[]
    const gates = f.run(b, plus(b, own, again as Value))
    const [z, r] = splitGates(b, gates, [hidden, hidden], parts) as [Value, Value]
    // The product that the reset gate scales, or the state that it scales before the product.
    const reset = isResetLast ? (againFresh as Value) : times(b, r, h as Value)
    const met = isResetLast ? times(b, r, reset) : freshProduct(b, reset, parts)
    const fresh = g.run(b, plus(b, ownFresh, met))
    const next = plus(b, times(b, b.op('Sub', [parts.one, z]), fresh), times(b, z, h as Value))
    return { states: [next], kept: [gates, fresh, reset] }
  },
  back(b, [gh], [h], [gates, fresh, reset], parts) {
    const { hidden, one, recurrent, isResetLast } = parts
    const [f, g] = parts.activations as [Activation, Activation]
    const [z, r] = splitGates(b, gates as Value, [hidden, hidden], parts) as [Value, Value]
    const state = h as Value
    const past = b.op('Sub', [state, fresh as Value])
    const given = times(b, gh as Value, b.op('Sub', [one, z]))
    const sum = times(b, given, g.slope(b, fresh as Value, one))
    const rows = b.op('Slice', [recurrent, parts.ints(2 * hidden), parts.ints(3 * hidden)])
    const before = isResetLast ? undefined : b.op('MatMul', [sum, rows])
    const outer = join(b, [
      times(b, gh as Value, past),
      before ? times(b, before, state) : times(b, sum, reset as Value),
    ])
    const two = times(b, outer, f.slope(b, gates as Value, one))
    const kept = times(b, gh as Value, z)
    const input = join(b, [two, sum])
    if (!before) {
      const product = join(b, [two, times(b, sum, r)])
      return {
        states: [plus(b, kept, b.op('MatMul', [product, recurrent]))],
        input,
        products: [{ gradient: product, read: state }],
      }
    }
    const first = b.op('Slice', [recurrent, parts.ints(0), parts.ints(2 * hidden)])
    return {
      states: [plus(b, kept, b.op('MatMul', [two, first]), times(b, before, r))],
      input,
      products: [
        { gradient: two, read: state },
        { gradient: sum, read: reset as Value },
      ],
    }
  },
}

/** (r·h)·Rₙᵀ + b: the last third of the recurrent weights alone. */
function freshProduct(b: NodeBuilder, reset: Value, parts: CellParts): Value {
  const [, last] = splitGates(b, recur(b, reset, parts), [2 * parts.hidden, parts.hidden], parts)
  return last as Value
}

export const cells: Readonly<Record<string, Cell>> = { RNN: plain, LSTM: longShort, GRU: gated }
