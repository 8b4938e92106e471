/**
 * Attention over kept blocks in place of dense attention: the operator, its layout, and what is left of
 * the masks. Heads of one pattern share a node; layers of one pattern share a layout.
 */

import { blockSelect } from '../../kernels/block-select/index.js'
import { blockSparseAttention } from '../../kernels/block-sparse-attention/index.js'
import { gatherBlockAttention } from '../../kernels/gather-block-attention/index.js'
import { emitKernel } from '../../kernels/kernel.js'
import type { Value } from '../graph/graph.js'
import type { NodeBuilder } from '../node-builder/node-builder.js'
import type { DataType } from '../onnx/data-type.js'
import { groupHeads, type HeadGroup, pickHeads, pickPlaces, withSharers } from './head-groups.js'
import type { Heads } from './heads.js'
import { type KeptBlocks, keptBlocks, type Layout, layoutOf } from './kept-blocks.js'
import type { MaskFacts } from './mask-facts.js'
import type { DynamicPattern, Pattern, StaticPattern } from './pattern.js'
import type { ReadAttention } from './read.js'

/** What the kept blocks of a layer depend on. */
export interface BlockContext {
  readonly build: NodeBuilder
  readonly read: ReadAttention
  readonly facts: MaskFacts
  /** int64 [1]: the number of keys, and a name for that number. */
  readonly keys: Value
  readonly keysName: string
  /** Blocks that layers share, by what they are made from. */
  readonly blocks: Map<string, KeptBlocks>
}

export interface EmitContext extends BlockContext {
  readonly type: DataType
  readonly layouts: Map<KeptBlocks, Layout>
  /** Added to the scores, [1 or batch, 1 or heads, queries, keys]; what the facts don't say. */
  readonly bias: Value | undefined
  /** Added to the scores of each key, [batch, 1, keys, 1]. */
  readonly padding: Value | undefined
  /** int32 [1]: 0, or the end of the run where caches are not full. */
  readonly full: Value | undefined
}

/** [batch, heads, queries, value size]; `patterns` has one entry, or one for each head. */
export function emitAttention(c: EmitContext, heads: Heads, patterns: readonly Pattern[]): Value {
  const { build, read } = c
  const groups = groupHeads(patterns, read.heads)
  const [first] = groups
  if (groups.length === 1 && first) return emitGroup(c, heads, first)
  const parts = groups.map((group) => {
    const { members } = group
    const bias = c.bias && hasHeads(c.bias) ? pickPlaces(build, c.bias, members, 1) : c.bias
    return emitGroup({ ...c, bias }, heads, group)
  })
  const order = groups.flatMap(({ members }) => members)
  const back = order.map((_, head) => order.indexOf(head))
  return pickPlaces(build, build.op('Concat', parts, { axis: 1 }), back, 1)
}

const hasHeads = ({ type }: Value): boolean => type?.dims?.[1] !== 1

/** One more member to every head: 1 in queries, and in keys what padding adds to their scores. */
function withPadding({ build, type, padding }: EmitContext, heads: Heads): Heads {
  if (!padding) return heads
  const sizeOf = (value: Value): Value =>
    build.op('Concat', [build.sizes(value, 0, 3), build.ints(1)], { axis: 0 })
  const ones = build.op('Expand', [build.number(1, type), sizeOf(heads.query)])
  const added = build.op('Expand', [padding, sizeOf(heads.key)])
  const query = build.op('Concat', [heads.query, ones], { axis: 3 })
  // Functions of operators are typed by it.
  build.edit.setType(query, { dataType: type, dims: undefined })
  return {
    ...heads,
    query,
    key: build.op('Concat', [heads.key, added], { axis: 3 }),
  }
}

/** `heads` are all heads of the layer. */
function emitGroup(c: EmitContext, heads: Heads, group: HeadGroup): Value {
  const { pattern, members } = group
  const own = isWhole(c, group) ? heads : pickHeads(c.build, heads, members, c.read.heads)
  const padded = withPadding(c, own)
  if (pattern.kind === 'dynamic')
    return emitDynamic(c, padded, selectedFor(c, heads, group, pattern), pattern)
  return emitStatic(c, padded, group, pattern.kind === 'dense' ? everything : pattern)
}

const isWhole = ({ read }: EmitContext, { members }: HeadGroup): boolean =>
  members.length === read.heads

/** All that the model's own masks let through: the widest window that the operator takes. */
const everything: StaticPattern = {
  kind: 'static',
  block: 64,
  window: 2 ** 30 - 1,
  sinks: 0,
  stride: 0,
  local: 0,
  dilation: 0,
  reach: 0,
}

/** Exact limits in tokens. A layer with a window of its own keeps to it, and has no sinks beyond. */
export function tokenLimits({ window, sinks }: StaticPattern, { window: own }: MaskFacts) {
  if (own === undefined) return { window, sinks }
  return { window: window > 0 ? Math.min(own, window) : own, sinks: 0 }
}

function emitStatic(c: EmitContext, heads: Heads, group: HeadGroup, pattern: StaticPattern): Value {
  const { build, read, facts, layouts } = c
  const { window, sinks } = tokenLimits(pattern, facts)
  const kept = sharedBlocks(c, pattern)
  const whole = layouts.get(kept) ?? layoutOf(build, kept)
  layouts.set(kept, whole)
  const own = (value: Value): Value =>
    kept.isPerHead && !isWhole(c, group) ? pickPlaces(build, value, group.members, 0) : value
  const node = emitKernel(build.edit, blockSparseAttention, {
    inputs: [
      heads.query,
      heads.key,
      heads.value,
      checked(c, own(whole.rows)),
      own(whole.columns),
      undefined,
      c.bias,
    ],
    attributes: {
      causal: facts.causal,
      window,
      sinks,
      scale: read.scale,
      softcap: read.softcap,
      queryBlock: pattern.block,
      keyBlock: pattern.block,
    },
    before: build.before,
  })
  return node.outputs[0] as Value
}

/** A layout that is there once caches are known to be full. */
const checked = ({ build, full }: EmitContext, layout: Value): Value =>
  full ? build.op('Add', [layout, full]) : layout

/** The blocks of a pattern for all heads of the layer, which layers of the same length share. */
export function sharedBlocks(
  { build, read, facts, keys, keysName, blocks }: BlockContext,
  pattern: StaticPattern,
): KeptBlocks {
  const { causal } = facts
  const { heads } = read
  const limited = pattern.window > 0 ? { ...pattern, ...tokenLimits(pattern, facts) } : pattern
  const key = [JSON.stringify(limited), causal, limited.stride && heads, keysName].join()
  const found = blocks.get(key) ?? keptBlocks(build, limited, { keys, causal, heads })
  blocks.set(key, found)
  return found
}

/**
 * int32 [batch, members or key-value heads, rows, blocks]. Heads that share keys choose together, whatever
 * pattern each follows.
 */
function selectedFor(
  c: EmitContext,
  heads: Heads,
  group: HeadGroup,
  pattern: DynamicPattern,
): Value {
  if (isWhole(c, group)) return selectBlocks(c, heads, pattern)
  const { sharers, places } = withSharers(c.build, heads, group.members, c.read.heads)
  return pickPlaces(c.build, selectBlocks(c, sharers, pattern), places, 1)
}

/** int32 [batch, key-value heads, rows, blocks]: what each block of queries chooses. */
export function selectBlocks(
  { build, read, facts }: BlockContext,
  { query, key }: Pick<Heads, 'query' | 'key'>,
  pattern: DynamicPattern,
): Value {
  const { mass, count, sinkBlocks, localBlocks, block } = pattern
  const node = emitKernel(build.edit, blockSelect, {
    inputs: [query, key],
    attributes: {
      causal: facts.causal,
      scale: read.scale,
      queryBlock: block,
      keyBlock: block,
      select: mass > 0 ? 'mass' : 'count',
      count,
      mass,
      sinkBlocks,
      localBlocks,
    },
    before: build.before,
  })
  return node.outputs[0] as Value
}

function emitDynamic(
  c: EmitContext,
  { query, key, value }: Heads,
  chosen: Value,
  { block }: DynamicPattern,
): Value {
  const { build, read, facts } = c
  const node = emitKernel(build.edit, gatherBlockAttention, {
    inputs: [query, key, value, checked(c, chosen), undefined, c.bias],
    attributes: {
      causal: facts.causal,
      scale: read.scale,
      queryBlock: block,
      keyBlock: block,
      softcap: read.softcap,
      window: facts.window ?? 0,
    },
    before: build.before,
  })
  return node.outputs[0] as Value
}
