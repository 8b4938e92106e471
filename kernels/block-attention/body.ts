/**
 * Block attention in standard operators: kept key and value blocks are gathered, then multiplied in
 * batches, so that the work is that of the kept blocks and not of all pairs. A row costs as much as
 * the fullest row of its layout. Letters as in body-blocks.ts.
 */
import type { Value } from '../../src/graph/graph.js'
import { type BodyBuilder, int } from '../body-builder.js'
import type { BlockAttentionAttributes } from './attributes.js'
import {
  type BodyInputs,
  type Frame,
  frameOf,
  type GatheredBlocks,
  gather,
  type KeptBlocks,
  keepBlocks,
  pad,
  type RowSpan,
} from './body-blocks.js'
import { gatherBias, visibility } from './body-visibility.js'

/** Added to hidden scores: finite, so that a row of nothing else is even, not NaN; then it is cleared. */
const HIDDEN = -1e30

/** Output, and where it is wanted the logarithm of the sum of exponentials of scores. */
export function attentionBody(
  build: BodyBuilder,
  inputs: BodyInputs,
  attributes: BlockAttentionAttributes,
  choose: (rows: RowSpan) => GatheredBlocks,
  wantsLogSumExp: boolean,
): Value[] {
  const frame = frameOf(build, inputs, attributes)
  const kept = keepBlocks(frame, choose({ first: frame.first, count: frame.R }))
  const multiplied = multiplyKept(frame, kept, inputs, attributes)
  const masked = maskScores(frame, kept, multiplied, inputs, attributes)
  const output = blend(frame, kept, masked, multiplied)
  const { B, H, S, isFloat } = frame
  const results = [isFloat ? output : build.cast(output, inputs.query.type?.dataType ?? 'float32')]
  if (!wantsLogSumExp) return results
  const { scores, anyShown } = masked
  const largest = build.reduce('ReduceMax', scores, -1)
  const sum = build.reduce('ReduceSum', build.op('Exp', [build.op('Sub', [scores, largest])]), -1)
  const logSumExp = build.op('Where', [
    anyShown,
    build.op('Add', [largest, build.op('Log', [sum])]),
    build.float(Number.NEGATIVE_INFINITY),
  ])
  return [...results, build.reshape(restore(frame, kept, logSumExp, 1), [B, H, S])]
}

/** Scores of the kept blocks [B, M, R, G·queryBlock, c·keyBlock], and their values. */
function multiplyKept(
  { build, isFloat, B, R, d, e, lead, tail, keyTail, queryBlock, keyBlock }: Frame,
  kept: KeptBlocks,
  inputs: BodyInputs,
  { scale: stated, softcap }: BlockAttentionAttributes,
): Multiplied {
  const { M, G, c, flat } = kept
  const [query, key, value] = [inputs.query, inputs.key, inputs.value].map((each) =>
    isFloat ? each : build.cast(each, 'float32'),
  ) as [Value, Value, Value]
  const scale = stated
    ? build.float(stated)
    : build.op('Reciprocal', [build.op('Sqrt', [build.cast(d, 'float32')])])
  const padded = pad(build, build.op('Mul', [query, scale]), lead, tail)
  const grouped = build.transpose(
    build.reshape(padded, [B, M, G, R, queryBlock, d]),
    [0, 1, 3, 2, 4, 5],
  )
  const rows = build.multiply(G, queryBlock)
  const width = build.multiply(c, keyBlock)
  const keys = gather(kept, pad(build, key, build.ints([0]), keyTail), flat, keyBlock, d)
  const values = gather(kept, pad(build, value, build.ints([0]), keyTail), flat, keyBlock, e)
  const products = build.op('MatMul', [
    build.reshape(grouped, [B, M, R, rows, d]),
    build.transpose(keys, [0, 1, 2, 4, 3]),
  ])
  if (!softcap) return { products, values, rows, width }
  const cap = build.float(softcap)
  const capped = build.op('Mul', [build.op('Tanh', [build.op('Div', [products, cap])]), cap])
  return { products: capped, values, rows, width }
}

interface Multiplied {
  readonly products: Value
  readonly values: Value
  /** G·queryBlock and c·keyBlock. */
  readonly rows: Value
  readonly width: Value
}

interface Masked {
  /** [B, L, M/L, R, G, queryBlock, c·keyBlock], a view that tells layouts apart. */
  readonly scores: Value
  /** Which queries see anything, as bool. */
  readonly anyShown: Value
  readonly split: Value
}

function maskScores(
  frame: Frame,
  kept: KeptBlocks,
  { products, width }: Multiplied,
  inputs: BodyInputs,
  attributes: BlockAttentionAttributes,
): Masked {
  const { build, isFloat, B, R, T, first, queryBlock } = frame
  const { L, M, G, exists, columns, present, leading } = kept
  const split = build.divide(M, L)
  let scores = build.reshape(products, [B, L, split, R, G, queryBlock, width])
  if (inputs.bias) {
    const bias = isFloat ? inputs.bias : build.cast(inputs.bias, 'float32')
    scores = build.op('Add', [
      scores,
      gatherBias({ ...frame, ...kept, split }, bias, present, leading),
    ])
  }
  const visible = visibility(kept, { exists, columns, leading, first, T, attributes, inputs })
  const shift = build.op('Where', [visible, build.float(0), build.float(HIDDEN)])
  scores = build.op('Add', [scores, shift])
  // A bias of −∞ hides too.
  if (inputs.bias) scores = build.op('Max', [scores, build.float(HIDDEN)])
  const shown = inputs.bias ? build.op('Greater', [scores, build.float(HIDDEN / 2)]) : visible
  const anyShown = build.op('Greater', [
    build.reduce('ReduceSum', build.cast(shown, 'float32'), -1),
    build.float(0),
  ])
  return { scores, anyShown, split }
}

/** Values weighed by the probabilities of scores: [B, H, S, e]. */
function blend(
  frame: Frame,
  kept: KeptBlocks,
  { scores, anyShown, split }: Masked,
  { values, rows, width }: Multiplied,
): Value {
  const { build, B, R, e, queryBlock } = frame
  const { L, M, G } = kept
  const probabilities = build.op('Softmax', [scores], { axis: int(-1) })
  const context = build.op('MatMul', [build.reshape(probabilities, [B, M, R, rows, width]), values])
  const cleared = build.op('Mul', [
    build.reshape(context, [B, L, split, R, G, queryBlock, e]),
    build.cast(anyShown, 'float32'),
  ])
  return restore(frame, kept, cleared, e)
}

/** Blocks of queries of every group back to [B, H, S, size], without what was padded. */
function restore(
  { build, B, H, S, R, lead, queryBlock }: Frame,
  { M, G }: KeptBlocks,
  each: Value,
  size: Value | 1,
): Value {
  const ordered = build.transpose(
    build.reshape(each, [B, M, R, G, queryBlock, size]),
    [0, 1, 3, 2, 4, 5],
  )
  const whole = build.reshape(ordered, [B, H, build.multiply(R, queryBlock), size])
  return build.slice(whole, 2, lead, build.add(lead, S))
}
