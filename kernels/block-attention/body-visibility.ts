/** Which of the gathered keys a query sees, and the bias of those, as nodes of a body. */
import type { Value } from '../../src/graph/graph.js'
import { int } from '../body-builder.js'
import type { BlockAttentionAttributes } from './attributes.js'
import type { BodyInputs, Kept } from './body-blocks.js'

interface Visibility {
  readonly exists: Value
  readonly columns: Value
  readonly leading: readonly Value[]
  readonly first: Value
  readonly T: Value
  readonly attributes: BlockAttentionAttributes
  readonly inputs: BodyInputs
}

/** Which pairs of the kept blocks count: [1 or B, L, 1, R, 1, queryBlock, c·keyBlock] of bool. */
export function visibility(
  { build, B, R, c }: Kept,
  { exists, columns, leading, first, T, attributes, inputs }: Visibility,
): Value {
  const { queryBlock, keyBlock, causal, window, sinks } = attributes
  const narrow = (value: Value): Value => build.cast(value, 'int32')
  // Keys of blocks that don't exist lie after all others, where they are hidden.
  const firstKey = build.op('Where', [
    exists,
    build.op('Mul', [columns, build.ints(keyBlock)]),
    build.ints(2 ** 30),
  ])
  const firstKeys = build.op('Unsqueeze', [firstKey, build.ints([-1])])
  const within = build.range(build.ints([keyBlock]))
  const keys = narrow(
    build.reshape(build.op('Add', [firstKeys, within]), [
      ...leading,
      1,
      R,
      1,
      1,
      build.multiply(c, keyBlock),
    ]),
  )
  const rows = build.add(
    build.range(build.multiply(R, queryBlock)),
    build.multiply(first, queryBlock),
  )
  const queries = narrow(build.reshape(rows, [1, 1, 1, R, 1, queryBlock, 1]))
  let end = narrow(T)
  if (inputs.keyLengths) {
    const lengths = narrow(build.reshape(inputs.keyLengths, [B, 1, 1, 1, 1, 1, 1]))
    end = build.op('Min', [end, lengths])
  }
  let visible = build.op('Less', [keys, end])
  const constant = (value: number): Value => narrow(build.ints(value))
  if (causal) visible = build.op('And', [visible, build.op('LessOrEqual', [keys, queries])])
  if (window > 0) {
    let near = build.op('Greater', [keys, build.op('Sub', [queries, constant(window)])])
    if (!causal)
      near = build.op('And', [
        near,
        build.op('Less', [keys, build.op('Add', [queries, constant(window)])]),
      ])
    if (sinks > 0) near = build.op('Or', [near, build.op('Less', [keys, constant(sinks)])])
    visible = build.op('And', [visible, near])
  }
  // Without a mask on queries it would lack their axis.
  if (causal || window > 0) return visible
  const shape = [inputs.keyLengths ? B : (leading[0] as Value), leading[1] as Value, 1, R, 1]
  return build.op('Expand', [
    visible,
    build.list([...shape, queryBlock, build.multiply(c, keyBlock)]),
  ])
}

interface BiasBlocks extends Kept {
  readonly H: Value
  readonly L: Value
  readonly G: Value
  readonly S: Value
  readonly T: Value
  readonly lead: Value
  readonly tail: Value
  readonly keyTail: Value
  readonly split: Value
  readonly queryBlock: number
  readonly keyBlock: number
}

/** The bias of the kept blocks, as the scores' view: [B, L, M/L, R, G, queryBlock, c·keyBlock]. */
export function gatherBias(
  kept: BiasBlocks,
  bias: Value,
  present: Value,
  leading: readonly Value[],
): Value {
  const { build, B, H, L, G, M, R, c, keyBlocks, lead, tail, keyTail, split } = kept
  const { queryBlock, keyBlock, S, T } = kept
  const whole = build.op('Expand', [bias, build.list([B, H, S, T])])
  const padded = build.op('Pad', [whole, build.list([0, 0, lead, 0, 0, 0, tail, keyTail])])
  // [B, H, R, keyBlocks, queryBlock, keyBlock], then the kept ones of each row.
  const blocks = build.transpose(
    build.reshape(padded, [B, H, R, queryBlock, keyBlocks, keyBlock]),
    [0, 1, 2, 4, 3, 5],
  )
  const perHead = build.op('Expand', [
    build.reshape(present, [...leading, 1, R, c]),
    build.list([B, L, build.divide(H, L), R, c]),
  ])
  const row = build.multiply(build.range(build.multiply(build.multiply(B, H), R)), keyBlocks)
  const at = build.op('Add', [
    build.reshape(perHead, [-1, c]),
    build.op('Unsqueeze', [row, build.ints([1])]),
  ])
  const list = build.reshape(blocks, [-1, queryBlock * keyBlock])
  const gathered = build.op('Gather', [list, build.reshape(at, [-1])], { axis: int(0) })
  const ordered = build.transpose(
    build.reshape(gathered, [B, M, G, R, c, queryBlock, keyBlock]),
    [0, 1, 3, 2, 5, 4, 6],
  )
  return build.reshape(ordered, [B, L, split, R, G, queryBlock, build.multiply(c, keyBlock)])
}
