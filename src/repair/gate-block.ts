/** What a block says, multiplied by a vector, for all products that read it. */
import type { GraphEdit } from '../graph/edit.js'
import { firstReader } from '../graph/first-reader.js'
import type { Value } from '../graph/graph.js'
import type { Block } from '../model/block.js'
import { kernelOf } from '../model/kernel-matrix.js'
import { NodeBuilder } from '../node-builder/node-builder.js'
import type { ShapeInfo } from '../shape/infer.js'

/**
 * `change` may be of a copy of the block's graph, with the same names. `make` gives the vector, float32 [width];
 * false where the graph lacks the block.
 */
export function gateBlock(
  change: GraphEdit,
  shapes: ShapeInfo,
  { input, readers, sizes, turn, unfolded, width }: Block,
  make: () => Value,
): boolean {
  const { graph } = change
  const value = graph.values.get(input.name)
  const names = new Set(readers.map(({ name }) => name))
  const reads = [...(value?.uses ?? [])].filter(({ node }) => names.has(node.name))
  const first = firstReader(graph, reads)
  if (!value || !first) return false
  const b = new NodeBuilder(change, shapes, first)
  const type = shapes.dataType(value) ?? 'float32'
  const places = unfolded ? (kernelOf(unfolded)?.places ?? 1) : 1
  // All places of a channel go together: the first one's number is the channel's.
  const all = make()
  const apart = (): Value => b.op('Reshape', [all, b.ints(width / places, places)])
  const own = places === 1 ? all : b.op('Gather', [apart(), b.number(0, 'int64')], { axis: 1 })
  const gate = type === 'float32' ? own : b.cast(own, type)
  // Positions behind the width take one number each.
  const behind = turn ? turn.length - 1 - (turn.at(-1) ?? 0) : 0
  const dims = [...sizes, ...Array.from({ length: behind }, () => 1)]
  const shaped = dims.length > 1 ? b.op('Reshape', [gate, b.ints(...dims)]) : gate
  const gated = b.op('Mul', [value, shaped])
  for (const { node, index } of reads) change.setInput(node, index, gated)
  return true
}
