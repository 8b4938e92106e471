/**
 * The layout of a static pattern, computed by the graph from the number of keys: so it fits every
 * length. Which blocks are kept is arithmetic on a table of [layouts, rows, columns] block numbers, small
 * beside the attention itself; one serves all layers.
 */
import type { Value } from '../graph/graph.js'
import type { NodeBuilder } from '../node-builder/node-builder.js'
import type { StaticPattern } from './pattern.js'

export interface KeptBlocks {
  /** bool [1 or heads, rows, columns]. */
  readonly kept: Value
  /** Whether there is a layout for each head of the layer, by its place. */
  readonly isPerHead: boolean
  /** int64 scalar: rows, and as many columns. */
  readonly count: Value
  /** int64 [1]: no row keeps more. It follows from sizes alone, so that those of all that is gathered do. */
  readonly most: Value
}

/** `keys` is int64 [1], the number of keys; `heads` are all of a layer. */
export function keptBlocks(
  c: NodeBuilder,
  pattern: StaticPattern,
  {
    keys,
    causal,
    heads,
  }: { readonly keys: Value; readonly causal: boolean; readonly heads: number },
): KeptBlocks {
  const { block, window, sinks, stride, local, dilation, reach } = pattern
  const number = (value: number): Value => c.number(value, 'int64')
  const op = (name: string, ...inputs: Value[]): Value => c.op(name, inputs)
  const rounded = op('Div', op('Add', keys, number(block - 1)), number(block))
  const count = c.op('Reshape', [rounded, c.ints()])
  const range = c.op('Range', [number(0), count, number(1)])
  const row = c.op('Unsqueeze', [range, c.ints(0, 2)])
  const column = c.op('Unsqueeze', [range, c.ints(0, 1)])
  const distance = op('Sub', row, column)
  const away = causal ? distance : op('Abs', distance)
  let kept = op('Less', column, number(0))
  if (window > 0) {
    // The nearest keys of two blocks `away` from each other are (away − 1)·block + 1 positions apart.
    const gap = op('Add', op('Mul', op('Sub', away, number(1)), number(block)), number(1))
    kept = op('Less', gap, number(window))
    if (sinks > 0)
      kept = op('Or', kept, op('Less', op('Mul', column, number(block)), number(sinks)))
  }
  if (stride > 0) {
    const step = Math.max(1, Math.floor(stride / heads))
    const head = c.ints(...Array.from({ length: heads }, (_, index) => index * step))
    const shifted = op('Add', column, c.op('Unsqueeze', [head, c.ints(1, 2)]))
    const isChosen = op('Equal', op('Mod', shifted, number(stride)), number(stride - 1))
    kept = op('Or', op('Less', away, number(local)), isChosen)
  }
  if (dilation > 0) {
    const isNear = op('LessOrEqual', away, number(reach * dilation))
    kept = op('And', isNear, op('Equal', op('Mod', away, number(dilation)), number(0)))
  }
  if (causal) kept = op('And', kept, op('GreaterOrEqual', distance, number(0)))
  // Strides are shifted from head to head.
  const isPerHead = stride > 0
  const dims = c.op('Concat', [c.ints(isPerHead ? heads : 1), rounded, rounded], { axis: 0 })
  return {
    kept: c.op('Expand', [kept, dims]),
    isPerHead,
    count,
    most: mostBlocks(c, pattern, causal, rounded),
  }
}

/** Of `count` blocks of keys (int64 [1]), what the fullest row keeps at most. */
function mostBlocks(
  c: NodeBuilder,
  { block, window, sinks, stride, local, dilation, reach }: StaticPattern,
  causal: boolean,
  count: Value,
): Value {
  const number = (value: number): Value => c.ints(value)
  /** A block's own, and `far` of them before it, or on either side. */
  const around = (far: number): number => (causal ? 1 : 2) * far + 1
  const terms: Value[] = []
  if (window > 0)
    terms.push(number(around(Math.floor((window - 2) / block) + 1) + Math.ceil(sinks / block)))
  if (stride > 0) {
    const strides = c.op('Div', [c.op('Add', [count, number(stride - 1)]), number(stride)])
    terms.push(c.op('Add', [strides, number(around(Math.max(local, 1) - 1))]))
  }
  if (dilation > 0) terms.push(number(around(reach)))
  return terms.reduce((least, each) => c.op('Min', [least, each]), count)
}

export interface Layout {
  readonly rows: Value
  readonly columns: Value
}

/** The table as `block_rows` and `block_columns`: rows of equal length, filled up with −1. */
export function layoutOf(c: NodeBuilder, { kept, count, most }: KeptBlocks): Layout {
  const number = (value: number): Value => c.number(value, 'int64')
  const range = c.op('Range', [number(0), count, number(1)])
  // Columns that are kept come first, in their order.
  const none = 2 ** 31 - 1
  const named = c.op('Where', [kept, range, number(none)])
  const [sorted] = c.outputs('TopK', [named, most], ['columns', 'at'], { axis: 2, largest: 0 })
  const real = c.op('Where', [
    c.op('Less', [sorted as Value, number(none)]),
    sorted as Value,
    number(-1),
  ])
  const layouts = c.op('Shape', [kept])
  const listed = c.op('Concat', [c.op('Gather', [layouts, c.ints(0)], { axis: 0 }), c.ints(-1)], {
    axis: 0,
  })
  const rows = c.op('Mul', [
    c.op('Range', [number(0), c.op('Add', [count, number(1)]), number(1)]),
    most,
  ])
  const dims = c.op(
    'Concat',
    [c.op('Gather', [layouts, c.ints(0)], { axis: 0 }), c.op('Shape', [rows])],
    { axis: 0 },
  )
  return {
    rows: c.cast(c.op('Expand', [rows, dims]), 'int32'),
    columns: c.cast(c.op('Reshape', [real, listed]), 'int32'),
  }
}
