/**
 * GroupQueryAttention may hold fewer tokens than its cache has places, another number for each sample. Written out,
 * new keys stand behind the whole cache, so samples whose cache isn't full would be computed wrongly. The
 * graph refuses them while it runs: only then lengths are known.
 */

import type { GraphEdit } from '../graph/edit.js'
import type { Node, Value } from '../graph/graph.js'
import type { LayeredAttention } from '../model/model-dimension.js'
import { NodeBuilder } from '../node-builder/node-builder.js'
import type { ShapeInfo } from '../shape/infer.js'

/** int32 [1]: 0, where caches are empty or full; else the run ends at a node whose name says why. */
export function fullCaches(
  edit: GraphEdit,
  shapes: ShapeInfo,
  { node }: LayeredAttention,
  known: Map<Value, Value>,
): Value | undefined {
  const lengths = lengthsOf(node)
  const [query, , , past] = node.inputs
  if (!lengths || !past || !query) return undefined
  const found = known.get(lengths)
  if (found) return found
  const build = new NodeBuilder(edit, shapes, node)
  const held = build.sizes(past, 2, 3)
  const keys = build.op('Add', [held, build.sizes(query, 1, 2)])
  // seqlens_k counts a sample's tokens, with the new ones, less one.
  const ends = build.op('Add', [build.cast(lengths, 'int64'), build.ints(1)])
  const isOther = build.op('Not', [build.op('Equal', [ends, keys])])
  const flat = build.op('Reshape', [build.cast(isOther, 'int64'), build.ints(-1)])
  const others = build.reduce('ReduceSum', flat, [0])
  const isFilled = build.cast(build.op('Greater', [held, build.ints(0)]), 'int64')
  const size = build.op('Add', [build.op('Mul', [others, isFilled]), build.ints(1)])
  // One number can't be laid out as two.
  const [result] = edit.addNode({
    op: 'Reshape',
    name: `every sample has to fill the cache of "${node.label}": sparse attention is made for samples of one length`,
    inputs: [build.cast(build.ints(0), 'int32'), size],
    outputs: ['attnc.full-caches'],
    before: node,
  }).outputs
  const zero = build.reduce('ReduceSum', result as Value, [0])
  known.set(lengths, zero)
  return zero
}

const lengthsOf = ({ op, domain, inputs }: Node): Value | undefined =>
  op === 'GroupQueryAttention' && domain === 'com.microsoft' ? inputs[5] : undefined
