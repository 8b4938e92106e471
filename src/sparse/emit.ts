/**
 * Attention over kept blocks in place of dense attention: the operator, its layout, and what is left of
 * the masks. Heads of one pattern share a node; layers of one pattern share a layout.
 */

import { blockSelect } from '../../kernels/block-select/index.js'
import { blockSparseAttention } from '../../kernels/block-sparse-attention/index.js'
import { gatherBlockAttention } from '../../kernels/gather-block-attention/index.js'
import { emitKernel } from '../../kernels/kernel.js'
import type { Value } from '../graph/graph.js'
import type { DataType } from '../onnx/data-type.js'
import type { NodeBuilder } from '../train/node-builder.js'
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
  if (groups.length === 1) return emitGroup(c, heads, read.heads, patterns[0] as Pattern)
  const order = groups.flatMap(({ members }) => members)
  const parts = groups.map(({ members, pattern }) => {
    const pick = (value: Value, places: readonly number[]): Value =>
      build.op('Gather', [value, build.ints(...places)], { axis: 1 })
    const own = members.map((head) => Math.floor((head * heads.keyValueHeads) / read.heads))
    const bias = c.bias && hasHeads(c.bias) ? pick(c.bias, members) : c.bias
    const picked: Heads = {
      query: pick(heads.query, members),
      key: pick(heads.key, own),
      value: pick(heads.value, own),
      keyValueHeads: members.length,
    }
    return emitGroup({ ...c, bias }, picked, members.length, pattern)
  })
  const back = order.map((_, head) => order.indexOf(head))
  return build.op('Gather', [build.op('Concat', parts, { axis: 1 }), build.ints(...back)], {
    axis: 1,
  })
}

const hasHeads = ({ type }: Value): boolean => type?.dims?.[1] !== 1

interface HeadGroup {
  readonly pattern: Pattern
  readonly members: readonly number[]
}

/** Heads that follow the same pattern, in the order in which the patterns come. */
function groupHeads(patterns: readonly Pattern[], heads: number): HeadGroup[] {
  const groups = new Map<string, { pattern: Pattern; members: number[] }>()
  for (let head = 0; head < heads; head++) {
    const pattern = patterns[patterns.length === 1 ? 0 : head] as Pattern
    const key = JSON.stringify(pattern)
    const group = groups.get(key) ?? { pattern, members: [] }
    group.members.push(head)
    groups.set(key, group)
  }
  return [...groups.values()]
}

/** One more member to every head: 1 in queries, and in keys what padding adds to their scores. */
function withPadding({ build, type, padding }: EmitContext, heads: Heads): Heads {
  if (!padding) return heads
  const sizeOf = (value: Value): Value =>
    build.op('Concat', [build.sizes(value, 0, 3), build.ints(1)], { axis: 0 })
  const ones = build.op('Expand', [build.number(1, type), sizeOf(heads.query)])
  const added = build.op('Expand', [padding, sizeOf(heads.key)])
  return {
    ...heads,
    query: build.op('Concat', [heads.query, ones], { axis: 3 }),
    key: build.op('Concat', [heads.key, added], { axis: 3 }),
  }
}

function emitGroup(c: EmitContext, heads: Heads, count: number, pattern: Pattern): Value {
  return pattern.kind === 'dynamic'
    ? emitDynamic(c, heads, pattern)
    : emitStatic(c, withPadding(c, heads), count, pattern.kind === 'dense' ? everything : pattern)
}

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

function emitStatic(c: EmitContext, heads: Heads, count: number, pattern: StaticPattern): Value {
  const { build, read, facts, layouts } = c
  const { window, sinks } = tokenLimits(pattern, facts)
  const kept = sharedBlocks(c, pattern, count)
  const layout = layouts.get(kept) ?? layoutOf(build, kept)
  layouts.set(kept, layout)
  const node = emitKernel(build.edit, blockSparseAttention, {
    inputs: [
      heads.query,
      heads.key,
      heads.value,
      checked(c, layout.rows),
      layout.columns,
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

/** The blocks of a pattern, which layers of the same length share. */
export function sharedBlocks(
  { build, facts, keys, keysName, blocks }: BlockContext,
  pattern: StaticPattern,
  heads: number,
): KeptBlocks {
  const { causal } = facts
  const limited = pattern.window > 0 ? { ...pattern, ...tokenLimits(pattern, facts) } : pattern
  const key = [JSON.stringify(limited), causal, limited.stride && heads, keysName].join()
  const found = blocks.get(key) ?? keptBlocks(build, limited, { keys, causal, heads })
  blocks.set(key, found)
  return found
}

function emitDynamic(c: EmitContext, heads: Heads, pattern: DynamicPattern): Value {
  const { build, read, facts } = c
  const shape = {
    causal: facts.causal,
    scale: read.scale,
    queryBlock: pattern.block,
    keyBlock: pattern.block,
  }
  const { query, key, value } = withPadding(c, heads)
  const chosen = emitKernel(build.edit, blockSelect, {
    inputs: [heads.query, heads.key],
    attributes: { ...shape, ...selection(pattern) },
    before: build.before,
  })
  const node = emitKernel(build.edit, gatherBlockAttention, {
    inputs: [query, key, value, checked(c, chosen.outputs[0] as Value), undefined, c.bias],
    attributes: { ...shape, softcap: read.softcap, window: facts.window ?? 0 },
    before: build.before,
  })
  return node.outputs[0] as Value
}

export const selection = ({ mass, count, sinkBlocks, localBlocks }: DynamicPattern) => ({
  select: mass > 0 ? ('mass' as const) : ('count' as const),
  count,
  mass,
  sinkBlocks,
  localBlocks,
})
