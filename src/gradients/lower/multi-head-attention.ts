/**
 * com.microsoft Attention and MultiHeadAttention, as ONNX Runtime's ContribOperators.md defines them:
 * projections inside or outside, one bias for all three, masks that are added.
 */
import { floatAttribute, intAttribute, intsAttribute, type Value } from '../../graph/graph.js'
import { unsupported } from '../unsupported.js'
import {
  attend,
  causalMask,
  lengthMask,
  lengthOf,
  mergeHeads,
  splitHeads,
  withPast,
} from './attend.js'
import type { Lowering, LoweringContext } from './lowering.js'

/** X [B, S, D], weight [D, Q | K | V], bias, mask, past [2, B, H, P, d], attention bias. */
export const packedAttention: Lowering = (c) => {
  const { node } = c
  const heads = c.count('num_heads')
  if (intAttribute(node, 'do_rotary', 0) === 1) throw unsupported(node, 'rotary positions')
  const third = c.size(c.input(1), 1) / 3
  const widths = intsAttribute(node, 'qkv_hidden_sizes') ?? [third, third, third]
  const product = c.op('MatMul', [c.input(0), c.input(1)])
  const bias = c.find(2)
  const parts = splitInto(c, bias ? c.op('Add', [product, bias]) : product, widths)
  const [query, key, value] = parts.map((part) => splitHeads(c, part, heads))
  const past = c.find(4)
  const pastOf = (index: number): Value | undefined =>
    past && c.op('Gather', [past, c.number(index, 'int64')], { axis: 0 })
  const joined = {
    query: query as Value,
    key: withPast(c, pastOf(0), key as Value),
    value: withPast(c, pastOf(1), value as Value),
  }
  const size = (widths[0] as number) / heads
  const result = attendWith(c, joined, size, { mask: 3, bias: 5 })
  const both = [joined.key, joined.value].map((each) => c.op('Unsqueeze', [each, c.ints(0)]))
  return [result, node.outputs[1] && c.op('Concat', both, { axis: 0 })]
}

/** Q, K and V [B, S, H·d] (K and V may be [B, H, T, d]), bias, mask, attention bias, past. */
export const multiHeadAttention: Lowering = (c) => {
  const { node } = c
  const heads = c.count('num_heads')
  const [q, k, v] = [c.input(0), c.find(1), c.find(2)]
  if (c.rank(q) !== 3 || !k || !v) throw unsupported(node, 'packed queries, keys and values')
  const bias = c.find(3)
  const widths = [q, k, v].map((each) =>
    c.rank(each) === 4 ? c.size(each, 3) * heads : c.size(each, 2),
  )
  const biases = bias ? splitInto(c, bias, widths) : []
  const [query, key, value] = [q, k, v].map((each, index) => {
    if (c.rank(each) === 4) return each
    const own = biases[index]
    return splitHeads(c, own ? c.op('Add', [each, own]) : each, heads)
  })
  const joined = {
    query: query as Value,
    key: withPast(c, c.find(6), key as Value),
    value: withPast(c, c.find(7), value as Value),
  }
  const size = (widths[0] as number) / heads
  return [attendWith(c, joined, size, { mask: 4, bias: 5 }), joined.key, joined.value]
}

/** Parts of the last axis. */
function splitInto(c: LoweringContext, value: Value, widths: readonly number[]): readonly Value[] {
  const names = widths.map((_, index) => `${c.node.label}/part${index}`)
  return c.outputs('Split', [value, c.ints(...widths)], names, { axis: -1 })
}

function attendWith(
  c: LoweringContext,
  joined: { readonly query: Value; readonly key: Value; readonly value: Value },
  headSize: number,
  slots: { readonly mask: number; readonly bias: number },
): Value {
  const stated = floatAttribute(c.node, 'scale', 0)
  const bias = c.find(slots.bias)
  const mask = c.find(slots.mask)
  const [queries, keys] = [lengthOf(c, joined.query), lengthOf(c, joined.key)]
  const isCausal = intAttribute(c.node, 'unidirectional', 0) === 1
  const added = mask ? [addedMask(c, mask, keys)] : []
  const attended = attend(c, {
    ...joined,
    scale: stated > 0 ? stated : 1 / Math.sqrt(headSize),
    biases: [...added, ...(bias ? [bias] : [])],
    masks: isCausal ? [causalMask(c, queries, keys, c.op('Sub', [keys, queries]))] : [],
  })
  return mergeHeads(c, attended)
}

/** Lengths [B], or ones and zeros [B, T] or [B, S, T]: what is not seen gets a large negative number. */
function addedMask(c: LoweringContext, mask: Value, keys: Value): Value {
  const rank = c.rank(mask)
  if (rank > 3) throw unsupported(c.node, `a mask of ${rank} axes`)
  const [samples, batch] = [mask, c.input(0)].map((each) => c.shapes.dims(each)?.[0])
  // Longer ones hold ends and starts; a symbol of its own is taken for the batch.
  if (rank === 1 && samples?.value !== undefined && batch && !samples.equals(batch))
    throw unsupported(c.node, 'a mask of ends and starts')
  const seen = rank === 1 ? lengthMask(c, mask, keys) : c.cast(mask, 'bool')
  const axes = { 1: [], 2: [1, 2], 3: [1] }[rank] ?? []
  const opened = axes.length > 0 ? c.op('Unsqueeze', [seen, c.ints(...axes)]) : seen
  const hidden = floatAttribute(c.node, 'mask_filter_value', -10000)
  return c.op('Where', [opened, c.constant(0), c.constant(hidden)])
}
