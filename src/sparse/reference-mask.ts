/**
 * A pattern as a mask that is added to the scores of dense attention: what sparse attention has to
 * equal. Written apart from the operator, token by token.
 */
import type { Value } from '../graph/graph.js'
import type { DataType } from '../onnx/data-type.js'
import { type BlockContext, selectBlocks, sharedBlocks, tokenLimits } from './emit.js'
import { keyValueHeadsOf, pickPlaces } from './head-groups.js'
import type { Heads } from './heads.js'
import type { DynamicPattern, Pattern } from './pattern.js'

/** [1 or batch, heads, queries, keys]: 0, and −∞ where a pair is hidden. */
export function patternMask(
  c: BlockContext,
  heads: Heads,
  patterns: readonly Pattern[],
  type: DataType,
): Value {
  const { build, read } = c
  const queries = build.sizeAlong(heads.query, 2)
  const start = c.facts.causal ? build.op('Sub', [c.keys, queries]) : build.ints(0)
  const range = (size: Value): Value =>
    build.op('Range', [
      build.number(0, 'int64'),
      build.op('Reshape', [size, build.ints()]),
      build.number(1, 'int64'),
    ])
  const positions = {
    rows: build.op('Add', [range(queries), start]),
    columns: range(c.keys),
    start,
  }
  // What is chosen while the model runs differs from sample to sample.
  const hasSamples = patterns.some(({ kind }) => kind === 'dynamic')
  const samples = hasSamples ? build.sizeAlong(heads.query, 0) : build.ints(1)
  const shape = build.op('Concat', [samples, build.ints(read.heads), queries, c.keys], { axis: 0 })
  const ofPattern = new Map<string, Value>()
  const visible = (pattern: Pattern): Value => {
    const key = JSON.stringify(pattern)
    const known =
      ofPattern.get(key) ?? build.op('Expand', [visiblePairs(c, heads, pattern, positions), shape])
    ofPattern.set(key, known)
    return known
  }
  const all =
    patterns.length === 1
      ? visible(patterns[0] as Pattern)
      : build.op(
          'Concat',
          patterns.map((pattern, head) => pickPlaces(build, visible(pattern), [head], 1)),
          { axis: 1 },
        )
  return build.op('Where', [
    all,
    build.number(0, type),
    build.number(Number.NEGATIVE_INFINITY, type),
  ])
}

interface Positions {
  /** int64 [queries] and [keys]: places of the tokens; and of the first query. */
  readonly rows: Value
  readonly columns: Value
  readonly start: Value
}

/** bool, broadcast to [batch, heads, queries, keys]. */
function visiblePairs(c: BlockContext, heads: Heads, pattern: Pattern, at: Positions): Value {
  const { build, facts } = c
  if (pattern.kind === 'dense') return build.op('Cast', [build.ints(1)], { to: 9 })
  const size = build.number(pattern.block, 'int64')
  const blockOf = (places: Value): Value => build.op('Div', [places, size])
  if (pattern.kind === 'dynamic') {
    const kept = selectedBlocks(c, heads, pattern)
    const first = blockOf(at.start)
    const rows = build.op('Sub', [blockOf(at.rows), first])
    const byRow = build.op('Gather', [kept, rows], { axis: 2 })
    return build.op('Gather', [byRow, blockOf(at.columns)], { axis: 3 })
  }
  const { kept } = sharedBlocks(c, pattern)
  const byRow = build.op('Gather', [kept, blockOf(at.rows)], { axis: 1 })
  const byToken = build.op('Gather', [byRow, blockOf(at.columns)], { axis: 2 })
  const { window, sinks } = tokenLimits(pattern, facts)
  if (window === 0) return byToken
  const columns = build.op('Unsqueeze', [at.columns, build.ints(0)])
  const distance = build.op('Abs', [
    build.op('Sub', [build.op('Unsqueeze', [at.rows, build.ints(1)]), columns]),
  ])
  const near = build.op('Less', [distance, build.number(window, 'int64')])
  const isSink = build.op('Less', [columns, build.number(sinks, 'int64')])
  return build.op('And', [byToken, build.op('Or', [near, isSink])])
}

/** bool [batch, heads, rows, columns] of what BlockSelect chooses, in one row of each query block. */
function selectedBlocks(c: BlockContext, heads: Heads, pattern: DynamicPattern): Value {
  const { build, read, keys } = c
  const { block } = pattern
  const indices = build.cast(selectBlocks(c, heads, pattern), 'int64')
  const rounded = build.op('Add', [keys, build.ints(block - 1)])
  const columns = build.op('Div', [rounded, build.ints(block)])
  // Beyond the last column: chosen by none.
  const named = build.op('Where', [
    build.op('Less', [indices, build.number(0, 'int64')]),
    columns,
    indices,
  ])
  const onOff = build.ints(0, 1)
  const marked = build.reduce('ReduceMax', build.op('OneHot', [named, columns, onOff]), [3], 0)
  const chosen = build.cast(marked, 'bool')
  const all = Array.from({ length: read.heads }, (_, head) => head)
  return pickPlaces(build, chosen, keyValueHeadsOf(all, heads, read.heads), 1)
}
