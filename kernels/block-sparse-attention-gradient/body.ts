/**
 * The backward pass of block attention in standard operators, over all pairs of queries and keys: for hosts without the
 * kernel, and for tests. Letters as in attributes.ts; G heads share one key-value head, R query blocks, C key blocks.
 *   P = exp(score − log-sum-exp), D = Σ output·g, dS = P·(g·Vᵀ − D), dQ = scale·dS·K, dK = scale·dSᵀ·Q, dV = Pᵀ·g.
 */
import type { Value } from '../../src/graph/graph.js'
import type { BlockAttentionAttributes } from '../block-attention/attributes.js'
import { columnsOfRows } from '../block-sparse-attention/rows-body.js'
import { type BodyBuilder, int } from '../body-builder.js'

/** Inputs in the order of the contract; gives its four outputs. Computes in float32. */
export function gradientBody(
  build: BodyBuilder,
  inputs: readonly (Value | undefined)[],
  attributes: BlockAttentionAttributes,
): Value[] {
  const type = inputs[0]?.type?.dataType ?? 'float32'
  const single = (value: Value): Value => build.cast(value, 'float32')
  const [query, key, value, output, gradient] = [0, 1, 2, 5, 7].map((index) =>
    single(inputs[index] as Value),
  ) as [Value, Value, Value, Value, Value]
  const [logSumExp, bias] = [inputs[6] as Value, inputs[9]]
  const [B, H, S, d] = build.sizes(query, 4) as [Value, Value, Value, Value]
  const [, K, T] = build.sizes(key, 4) as [Value, Value, Value]
  const G = build.divide(H, K)
  const turn = (each: Value): Value => build.transpose(each, [0, 1, 2, 4, 3])
  const grouped = (each: Value): Value => build.reshape(each, [B, K, G, S, -1])
  const shared = (each: Value): Value => build.reshape(each, [B, K, 1, T, -1])
  const pairs = (each: Value): Value => build.reshape(each, [B, H, S, T])
  const product = (a: Value, b: Value): Value => build.op('MatMul', [a, b])

  // 1. Probabilities [B, H, S, T].
  const scale = attributes.scale
    ? build.float(attributes.scale)
    : build.op('Reciprocal', [build.op('Sqrt', [single(d)])])
  const scaled = build.op('Mul', [grouped(query), scale])
  let scores = pairs(product(scaled, turn(shared(key))))
  let slope: Value | undefined
  if (attributes.softcap) {
    const cap = build.float(attributes.softcap)
    const bent = build.op('Tanh', [build.op('Div', [scores, cap])])
    scores = build.op('Mul', [bent, cap])
    slope = build.op('Sub', [build.float(1), build.op('Mul', [bent, bent])])
  }
  if (bias) scores = build.op('Add', [scores, single(bias)])
  const perRow = build.op('Unsqueeze', [logSumExp, build.ints([3])])
  const seen = build.op('And', [
    shown(build, { inputs, attributes, H, S, T, B }),
    build.op('Greater', [perRow, build.float(-1e30)]),
  ])
  const probabilities = build.op('Where', [
    seen,
    build.op('Exp', [build.op('Sub', [scores, perRow])]),
    build.float(0),
  ])

  // 2. What each score would change.
  const rowSums = build.reduce('ReduceSum', build.op('Mul', [output, gradient]), -1)
  const ofPairs = pairs(product(grouped(gradient), turn(shared(value))))
  let change = build.op('Mul', [probabilities, build.op('Sub', [ofPairs, rowSums])])
  if (slope) change = build.op('Mul', [change, slope])
  const perGroup = (each: Value): Value => build.reshape(each, [B, K, G, S, T])
  const overGroup = (each: Value): Value =>
    build.op('Squeeze', [build.reduce('ReduceSum', each, 2), build.ints([2])])
  const ofQuery = build.op('Mul', [product(perGroup(change), shared(key)), scale])
  const ofKey = overGroup(product(turn(perGroup(change)), scaled))
  const ofValue = overGroup(product(turn(perGroup(probabilities)), grouped(gradient)))
  return [
    build.cast(build.reshape(ofQuery, [B, H, S, d]), type),
    build.cast(ofKey, type),
    build.cast(ofValue, type),
    build.reshape(rowSums, [B, H, S]),
  ]
}

interface Shown {
  readonly inputs: readonly (Value | undefined)[]
  readonly attributes: BlockAttentionAttributes
  readonly B: Value
  readonly H: Value
  readonly S: Value
  readonly T: Value
}

/** Pairs that count: [1 or B, H, S, T] of bool. */
function shown(build: BodyBuilder, { inputs, attributes, B, H, S, T }: Shown): Value {
  const { queryBlock, keyBlock, causal, window, sinks } = attributes
  const start =
    attributes.queryStart < 0 ? build.subtract(T, S) : build.ints([attributes.queryStart])
  const first = build.divide(start, queryBlock)
  const R = build.subtract(build.divideUp(build.add(start, S), queryBlock), first)
  const positions = build.add(build.range(S), start)
  const keys = build.range(T)

  // 1. Kept blocks as [L, R, C], then as pairs.
  const rows = columnsOfRows(build, inputs[3] as Value, inputs[4] as Value)
  const { columns, layouts: L } = rows({ first, count: R })
  const named = build.op('Unsqueeze', [columns, build.ints([3])])
  const isNamed = build.op('Equal', [named, build.range(build.divideUp(T, keyBlock))])
  const blocks = build.op('Squeeze', [
    build.reduce('ReduceMax', build.cast(isNamed, 'float32'), 2),
    build.ints([2]),
  ])
  const ofQueries = build.op(
    'Gather',
    [blocks, build.subtract(build.divide(positions, queryBlock), first)],
    { axis: int(1) },
  )
  const whole = build.op('Gather', [ofQueries, build.divide(keys, keyBlock)], { axis: int(2) })
  const repeated = build.op('Expand', [
    build.reshape(whole, [L, 1, S, T]),
    build.list([L, build.divide(H, L), S, T]),
  ])
  let result = build.op('Greater', [build.reshape(repeated, [1, H, S, T]), build.float(0)])
  const and = (other: Value): void => {
    result = build.op('And', [result, other])
  }

  // 2. Masks.
  const rowsOf = build.op('Unsqueeze', [positions, build.ints([1])])
  const lengths = inputs[8]
  if (lengths)
    and(build.op('Less', [keys, build.reshape(build.cast(lengths, 'int64'), [B, 1, 1, 1])]))
  if (causal) and(build.op('LessOrEqual', [keys, rowsOf]))
  if (window > 0) {
    const apart = build.op('Abs', [build.op('Sub', [rowsOf, keys])])
    const isNear = build.op('Less', [apart, build.ints(window)])
    and(sinks > 0 ? build.op('Or', [isNear, build.op('Less', [keys, build.ints(sinks)])]) : isNear)
  }
  return result
}
