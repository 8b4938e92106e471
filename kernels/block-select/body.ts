/**
 * BlockSelect in standard operators. Letters as in attributes.ts; besides, G = H / K heads that share keys.
 * A row's blocks are sorted by forcedness and weight; how many of them stay follows from their order.
 */
import type { Value } from '../../src/graph/graph.js'
import { type BodyBuilder, type Extent, int } from '../body-builder.js'
import { kernelError } from '../kernel.js'
import { NAME, type SelectAttributes } from './attributes.js'
import { HIDDEN, lastQueryWeights, type Sizes, summarise, summaryScores } from './body-scores.js'
import type { SelectInputs } from './reference.js'

/** After every block. */
const NEVER = 2 ** 30

export function selectBody(
  build: BodyBuilder,
  inputs: SelectInputs<Value>,
  attributes: SelectAttributes,
  outputs: number,
): Value[] {
  const { scorer, queryBlock, keyBlock } = attributes
  if (outputs > 1 && scorer !== 'mean' && scorer !== 'minmax')
    throw kernelError('KERNEL_ATTRIBUTE', NAME, `the scorer "${scorer}" has no key_summary.`)
  const isFloat = inputs.query.type?.dataType === 'float32'
  const asFloat = (value: Value): Value => (isFloat ? value : build.cast(value, 'float32'))

  // 1. Sizes.
  const [B, H, S, d] = build.sizes(inputs.query, 4) as [Value, Value, Value, Value]
  const [, K, T] = build.sizes(inputs.key, 3) as [Value, Value, Value]
  const start =
    attributes.queryStart < 0 ? build.subtract(T, S) : build.ints([attributes.queryStart])
  const first = build.divide(start, queryBlock)
  const lead = build.subtract(start, build.multiply(first, queryBlock))
  const R = build.divideUp(build.add(lead, S), queryBlock)
  const C = build.divideUp(T, keyBlock)
  const rows = build.multiply(build.add(build.range(R), first), queryBlock)
  const limit = build.add(start, S)
  const lengths = inputs.keyLengths
    ? build.op('Min', [build.op('Max', [build.cast(inputs.keyLengths, 'int64'), build.ints(0)]), T])
    : T
  const sizes: Sizes = {
    ...{ build, attributes, B, H, K, S, T, d, R, C, start, first, lead },
    length: build.reshape(lengths, [-1, 1]),
    from: build.op('Max', [rows, start]),
    to: build.op('Min', [build.add(rows, queryBlock), limit]),
  }
  const visible = visibleBlocks(sizes)

  // 2. Weights of every head: [B, H, R, C].
  const results: Value[] = []
  let weights: Value
  if (scorer === 'last_query') {
    const paid = lastQueryWeights(sizes, asFloat(inputs.query), asFloat(inputs.key))
    const seen = build.op('Mul', [paid, build.cast(visible, 'float32')])
    const sum = build.reduce('ReduceSum', seen, -1)
    const one = build.op('Where', [build.op('Greater', [sum, build.float(0)]), sum, build.float(1)])
    weights = build.op('Div', [seen, one])
  } else {
    let scores = inputs.scores
    if (!scores) {
      const summary = summarise(sizes, asFloat(inputs.key), inputs.summary)
      if (outputs > 1) results.push(summary)
      scores = summaryScores(sizes, asFloat(inputs.query), summary)
    }
    const shown = build.op('Where', [visible, scores, build.float(HIDDEN)])
    weights = build.op('Mul', [
      build.op('Softmax', [shown], { axis: int(-1) }),
      build.cast(visible, 'float32'),
    ])
  }

  // 3. The heads of a selection, and the choice.
  const L: Extent = attributes.selections || K
  const grouped = build.reshape(weights, [B, L, build.divide(H, L), R, C])
  const shared = build.reshape(build.reduce('ReduceMean', grouped, 2), [B, L, R, C])
  return [choose(sizes, shared, visible), ...results]
}

/** Blocks that a row may see: [B or 1, 1, R, C] of bool. */
function visibleBlocks({ build, attributes, R, C, length, to }: Sizes): Value {
  const begin = build.multiply(build.range(C), attributes.keyBlock)
  const exists = build.op('Less', [begin, build.reshape(length, [-1, 1, 1, 1])])
  const rows = build.reshape(to, [1, 1, R, 1])
  // Every row sees as much unless it is causal: the comparison only brings the rows' axis.
  const far = attributes.causal ? rows : build.op('Add', [rows, build.ints(NEVER)])
  return build.op('And', [exists, build.op('Less', [begin, far])])
}

/** Which blocks are kept whatever their weight: [R, C] of bool. */
function forcedBlocks({ build, attributes, R, C, first }: Sizes): Value | undefined {
  const { sinkBlocks, localBlocks, queryBlock, keyBlock } = attributes
  const column = build.range(C)
  const isSink = build.op('Less', [column, build.ints(sinkBlocks)])
  if (localBlocks === 0) return sinkBlocks === 0 ? undefined : isSink
  const row = build.multiply(build.add(build.range(R), first), queryBlock)
  const apart = (value: Value): Value => build.reshape(value, [R, 1])
  const own = apart(build.divide(row, keyBlock))
  const ownLast = apart(build.divide(build.add(row, queryBlock - 1), keyBlock))
  const isLocal = build.op('And', [
    build.op('Greater', [column, build.op('Sub', [own, build.ints(localBlocks)])]),
    build.op('Less', [column, build.op('Add', [ownLast, build.ints(localBlocks)])]),
  ])
  return sinkBlocks === 0 ? isLocal : build.op('Or', [isSink, isLocal])
}

/** The table of kept blocks: [B, L, R, c] of int32. */
function choose(sizes: Sizes, weights: Value, visible: Value): Value {
  const { build, attributes, C } = sizes
  const { select, count, mass, threshold } = attributes
  const forced = forcedBlocks(sizes)
  const bonus = (value: Value): Value =>
    forced
      ? build.op('Add', [value, build.op('Mul', [build.cast(forced, 'float32'), build.float(2)])])
      : value
  const rank = build.op('Where', [visible, bonus(weights), build.float(-1)])
  const places = count > 0 ? build.op('Min', [C, build.ints([count])]) : C
  const [ranked, order] = build.outputs('TopK', [rank, places], 2, { axis: int(-1) }) as [
    Value,
    Value,
  ]
  let keeps = build.op('GreaterOrEqual', [ranked, build.float(0)])
  if (select !== 'count' && !(select === 'mass' && mass === 1)) {
    const sorted = build.op('GatherElements', [weights, order], { axis: int(-1) })
    const before = build.op('CumSum', [sorted, build.ints(-1)], { exclusive: int(1) })
    const enough =
      select === 'mass'
        ? build.op('Less', [before, build.float(mass)])
        : build.op('GreaterOrEqual', [sorted, build.float(threshold)])
    const isForced = build.op('GreaterOrEqual', [ranked, build.float(2)])
    keeps = build.op('And', [keeps, forced ? build.op('Or', [enough, isForced]) : enough])
  }
  const blocks = build.op('Where', [keeps, order, build.ints(NEVER)])
  let width = places
  if (count === 0) {
    const kept = build.reduce('ReduceSum', build.cast(keeps, 'int64'), -1)
    const fullest = build.op('ReduceMax', [kept], { keepdims: int(0) })
    width = build.op('Max', [fullest, build.ints([1])])
  }
  const [rising] = build.outputs('TopK', [blocks, width], 2, {
    axis: int(-1),
    largest: int(0),
  }) as [Value]
  const isBlock = build.op('Less', [rising, build.ints(NEVER)])
  return build.cast(build.op('Where', [isBlock, rising, build.ints(-1)]), 'int32')
}
