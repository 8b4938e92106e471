/** All positions of one direction of a recurrence, once more and then back. */
import type { Value } from '../../graph/graph.js'
import type { NodeBuilder } from '../../node-builder/node-builder.js'
import { scan } from '../../node-builder/scan.js'
import type { Cell, CellParts } from './recurrent-cells.js'

export interface Run {
  readonly name: string
  readonly cell: Cell
  readonly parts: CellParts
  readonly isBackward: boolean
  /** [positions, batch, gates·hidden]. */
  readonly toGates: Value
  readonly first: readonly Value[]
  /** Gradients of the last states, and [positions, batch, hidden] of those shown. */
  readonly after: readonly Value[]
  readonly shown: Value | undefined
  /** [positions, batch, 1]: false behind the end of a sample, where states stay as they are. */
  readonly mask: Value | undefined
  readonly zero: Value
}

/** The states before and what was kept of every position, then the way back over them. */
export function runBack(c: NodeBuilder, run: Run) {
  const { name, cell, parts, isBackward, shown, mask, zero } = run
  const masks = mask ? [mask] : []
  const forward = scan(c, {
    name,
    states: run.first,
    inputs: [run.toGates, ...masks],
    isBackward,
    body: (b, states, [input, isThere]) => {
      const next = cell.forward(b, input as Value, states, parts)
      return {
        states: next.states.map((value, at) => choose(b, isThere, value, states[at] as Value)),
        results: [...states, ...next.kept],
      }
    },
  })
  const back = scan(c, {
    name,
    states: run.after,
    inputs: [...masks, ...(shown ? [shown] : []), ...forward.results],
    isBackward: !isBackward,
    body: (b, gradients, inputs) => {
      const read = [...inputs]
      const isThere = mask && read.shift()
      const seen = shown && read.shift()
      const [g, ...others] = gradients as [Value, ...Value[]]
      const whole = [seen ? b.op('Add', [g, seen]) : g, ...others]
      const [before, kept] = [read.slice(0, cell.states), read.slice(cell.states)]
      const found = cell.back(b, whole, before, kept, parts)
      const only = (value: Value): Value => choose(b, isThere, value, zero)
      return {
        states: found.states.map((value, at) => choose(b, isThere, value, gradients[at] as Value)),
        results: [
          only(found.input),
          ...found.products.flatMap(({ gradient, read: by }) => [only(gradient), by]),
        ],
      }
    },
  })
  const [input, ...rest] = back.results as [Value, ...Value[]]
  const products = rest.flatMap((gradient, at) =>
    at % 2 === 0 ? [{ gradient, read: rest[at + 1] as Value }] : [],
  )
  return { input, products, before: back.states }
}

const choose = (b: NodeBuilder, mask: Value | undefined, yes: Value, no: Value): Value =>
  mask ? b.op('Where', [mask, yes, no]) : yes
