/**
 * com.microsoft GroupQueryAttention: causal, rotary inside, the cache before the new keys. Written out
 * as if the cache held exactly what came before, as it does in training, where it is empty.
 */
import { floatAttribute, intAttribute, type Value } from '../../graph/graph.js'
import { unsupported } from '../unsupported.js'
import {
  attend,
  causalMask,
  lengthOf,
  mergeHeads,
  repeatHeads,
  splitHeads,
  withPast,
} from './attend.js'
import type { Lowering, LoweringContext } from './lowering.js'
import { readTable, rotate } from './rotary.js'

export const groupQueryAttention: Lowering = (c) => {
  const { node } = c
  if (c.find(11) || intAttribute(node, 'smooth_softmax', 0) === 1)
    throw unsupported(node, 'a sink in its softmax')
  const heads = c.count('num_heads')
  const keyValueHeads = c.count('kv_num_heads')
  const isPacked = !c.find(1)
  const headSize = c.size(c.input(0), 2) / (isPacked ? heads + 2 * keyValueHeads : heads)
  const [q, k, v] = isPacked
    ? unpack(c, [heads * headSize, keyValueHeads * headSize, keyValueHeads * headSize])
    : [c.input(0), c.input(1), c.input(2)]
  const past = c.find(3)
  const offset = past && lengthOf(c, past)
  const queries = splitHeads(c, q as Value, heads)
  const length = lengthOf(c, queries)
  const turn = rotation(c, length, offset, headSize)
  const query = turn(queries)
  const key = withPast(c, past, turn(splitHeads(c, k as Value, keyValueHeads)))
  const value = withPast(c, c.find(4), splitHeads(c, v as Value, keyValueHeads))
  const sizes = { heads: keyValueHeads, groups: heads / keyValueHeads, size: headSize }
  const bias = c.find(10)
  const stated = floatAttribute(node, 'scale', 0)
  const window = intAttribute(node, 'local_window_size', -1)
  const result = attend(c, {
    query,
    key: repeatHeads(c, key, sizes),
    value: repeatHeads(c, value, sizes),
    scale: stated > 0 ? stated : 1 / Math.sqrt(headSize),
    softcap: floatAttribute(node, 'softcap', 0),
    biases: bias ? [bias] : [],
    masks: [causalMask(c, length, lengthOf(c, key), offset, window)],
  })
  return [mergeHeads(c, result), key, value]
}

function unpack(c: LoweringContext, widths: readonly number[]): readonly Value[] {
  const names = widths.map((_, index) => `${c.node.label}/part${index}`)
  return c.outputs('Split', [c.input(0), c.ints(...widths)], names, { axis: -1 })
}

/** Turns queries and keys by their places, where the operator does. */
function rotation(
  c: LoweringContext,
  length: Value,
  offset: Value | undefined,
  headSize: number,
): (x: Value) => Value {
  if (intAttribute(c.node, 'do_rotary', 0) === 0) return (x) => x
  const range = c.range(length)
  const counted = c.op('Unsqueeze', [offset ? c.op('Add', [range, offset]) : range, c.ints(0)])
  const positions = c.find(9) ?? counted
  const [cos, sin] = [c.input(7), c.input(8)]
  const turned = 2 * c.size(cos, 1)
  const isInterleaved = intAttribute(c.node, 'rotary_interleaved', 0) === 1
  const tables = { cos: readTable(c, cos, positions), sin: readTable(c, sin, positions) }
  return (x) => rotate(c, x, { ...tables, isInterleaved, turned, headSize })
}
