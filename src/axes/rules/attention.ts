/**
 * Fused attention operators: their documented packings say how hidden axes are made of heads and
 * head sizes, their attributes state the counts. Query head h belongs to key-value head floor(h / G).
 * What the axes are is recorded for the reading of roles.
 */
import { intAttribute, intsAttribute, type Node } from '../../graph/graph.js'
import { Size } from '../../shape/symbolic.js'
import type { Axis } from '../axis.js'
import type { AxisRule, RuleContext } from '../rule.js'
import {
  type Factors,
  FIXED,
  keepScale,
  keyFactors,
  newFactors,
  queryFactors,
  queryHeads,
  relateBias,
  relateHeads,
  relateScoresLike,
  relateSequence,
  resultFactors,
  setCounts,
  valueFactors,
} from './attention-factors.js'
import { rotaryEmbedding } from './rotary.js'

/** Q [B, S, D] (or packed), K, V, bias, padding mask, attention bias, past key, past value. */
const multiHeadAttention: AxisRule = {
  relate(context) {
    const heads = intAttribute(context.node, 'num_heads', 1)
    const query = context.input(0) ?? []
    const key = context.input(1)
    const value = context.input(2)
    if (query.length === 5 || key?.length === 5) return packedMultiHead(context, heads)
    const headSize = (query.at(-1) as Axis).size.divideExact(Size.of(heads))
    const valueWidth =
      value?.length === 4 ? value[3]?.size : value?.at(-1)?.size.divideExact(Size.of(heads))
    if (!headSize || !valueWidth) return context.blockAll('the head size is not known')
    const factors = newFactors(context, {
      heads,
      keyValueHeads: heads,
      headSize,
      valueHeadSize: valueWidth,
    })
    relateHeads(context, query, queryFactors(factors))
    relateHeads(context, key, keyFactors(factors))
    relateHeads(context, value, valueFactors(factors))
    relateBias(context, 3, factors)
    if (context.input(3)) context.block(factors.headSize, 'its members get a bias inside')
    relateMaskAndCache(context, 5, factors)
    context.contract([{ input: 0, axis: query.length - 1 }])
  },
  rewrite(context) {
    setCounts(context, 'num_heads')
    keepScale(context)
  },
}

/** A mask, and behind it the cache that comes in; the results with the cache that goes out. */
function relateMaskAndCache(context: RuleContext, mask: number, factors: Factors): void {
  relateScoresLike(context, context.input(mask), factors)
  relateHeads(context, context.input(mask + 1), keyFactors(factors))
  relateHeads(context, context.input(mask + 2), valueFactors(factors))
  relateHeads(context, context.output(0), resultFactors(factors))
  relateHeads(context, context.output(1), keyFactors(factors))
  relateHeads(context, context.output(2), valueFactors(factors))
  relateScoresLike(context, context.output(3), factors)
  relateSequence(context)
}

/** [B, S, heads, 3, size], or a query beside [B, T, heads, 2, size]. */
function packedMultiHead(context: RuleContext, heads: number): void {
  const packed = context.input(0)?.length === 5 ? context.input(0) : context.input(1)
  const headSize = packed?.[4]?.size
  if (!packed || !headSize) return
  const factors = newFactors(context, {
    heads,
    keyValueHeads: heads,
    headSize,
    valueHeadSize: headSize,
  })
  context.unify(factors.headSize, factors.valueHeadSize)
  context.unifyProducts([packed[2] as Axis], queryHeads(factors))
  context.unify(packed[4], factors.headSize)
  context.block(packed[3], 'queries, keys and values are packed in it')
  relateHeads(context, context.input(0), queryFactors(factors))
  relateBias(context, 3, factors)
  relateScoresLike(context, context.input(5), factors)
  relateHeads(context, context.output(0), resultFactors(factors))
  context.block(factors.headSize, FIXED)
}

/** Q [B, S, H·d] (or Q, K and V in one), K, V, past key, past value, …, attention bias, head sink. */
const groupQueryAttention: AxisRule = {
  relate(context) {
    const { node } = context
    const heads = intAttribute(node, 'num_heads', 1)
    const keyValueHeads = intAttribute(node, 'kv_num_heads', heads)
    const query = context.input(0) ?? []
    const isPacked = !node.inputs[1]
    const total = isPacked ? heads + 2 * keyValueHeads : heads
    const headSize = (query.at(-1) as Axis).size.divideExact(Size.of(total))
    if (!headSize) return context.blockAll('the head size is not known')
    const factors = newFactors(context, { heads, keyValueHeads, headSize, valueHeadSize: headSize })
    context.unify(factors.headSize, factors.valueHeadSize)
    if (isPacked)
      context.unifyParts(query.at(-1) as Axis, [
        queryFactors(factors),
        keyFactors(factors),
        valueFactors(factors),
      ])
    else relateHeads(context, query, queryFactors(factors))
    relateHeads(context, context.input(1), keyFactors(factors))
    relateHeads(context, context.input(2), valueFactors(factors))
    relateHeads(context, context.input(3), keyFactors(factors))
    relateHeads(context, context.input(4), valueFactors(factors))
    relateScoresLike(context, context.input(10), factors)
    const sink = context.input(11)?.[0]
    if (sink) context.unifyProducts([sink], queryHeads(factors))
    relateHeads(context, context.output(0), resultFactors(factors))
    relateHeads(context, context.output(1), keyFactors(factors))
    relateHeads(context, context.output(2), valueFactors(factors))
    relateSequence(context)
    context.block(factors.headSize, FIXED)
  },
  rewrite: (context) => setCounts(context, 'num_heads', 'kv_num_heads'),
}

/** X [B, S, D], one weight [D, Q | K | V], one bias, mask, past [2, B, H, P, d], attention bias. */
const packedWeightAttention: AxisRule = {
  relate(context) {
    const { node } = context
    const heads = intAttribute(node, 'num_heads', 1)
    const columns = context.input(1)?.[1]
    const input = context.input(0) ?? []
    if (!columns) return context.blockAll('the weight is not given')
    const total = columns.size.value ?? 0
    const [q = total / 3, , v = total / 3] = intsAttribute(node, 'qkv_hidden_sizes') ?? []
    if (q % heads !== 0 || v % heads !== 0)
      return context.blockAll('the weight holds no whole heads')
    const factors = newFactors(context, {
      heads,
      keyValueHeads: heads,
      headSize: Size.of(q / heads),
      valueHeadSize: Size.of(v / heads),
    })
    context.contract([
      { input: 0, axis: input.length - 1 },
      { input: 1, axis: 0 },
    ])
    context.mark(columns, 'projected')
    context.unifyParts(columns, [queryFactors(factors), keyFactors(factors), valueFactors(factors)])
    relateBias(context, 2, factors)
    for (const past of [context.input(4), context.output(1)]) {
      context.unifyProducts(past?.[2] ? [past[2]] : [], past?.[2] ? queryHeads(factors) : [])
      context.unify(past?.[4], factors.headSize)
    }
    relateScoresLike(context, context.input(5), factors)
    relateHeads(context, context.output(0), resultFactors(factors))
    relateSequence(context)
    context.block(factors.headSize, FIXED)
    context.block(factors.valueHeadSize, FIXED)
  },
  rewrite(context) {
    setCounts(context, 'num_heads')
    const axes = context.recorded()
    const [keyValueHeads, headSize, valueHeadSize] = [
      axes?.['keyValueHeads'],
      axes?.['headSize'],
      axes?.['valueHeadSize'],
    ]
    if (!keyValueHeads || !headSize || !valueHeadSize) return
    const heads = context.sizeOf(keyValueHeads).value ?? 0
    const [q, v] = [heads * (headSize.size.value ?? 0), heads * (valueHeadSize.size.value ?? 0)]
    // Without the sizes the operator takes a third of the input's width.
    context.setInts('qkv_hidden_sizes', [q, q, v])
  },
}

/** ai.onnx Attention: [B, S, H·d] with the counts as attributes, or [B, H, S, d]. */
const standardAttention: AxisRule = {
  relate(context) {
    const { node } = context
    const [query = [], key = [], value = []] = [
      context.input(0),
      context.input(1),
      context.input(2),
    ]
    const count = (axes: readonly Axis[], attribute: string): number | undefined =>
      axes.length === 4 ? axes[1]?.size.value : intAttribute(node, attribute)
    const heads = count(query, 'q_num_heads')
    const keyValueHeads = count(key, 'kv_num_heads')
    if (!heads || !keyValueHeads) return context.blockAll('the number of heads is not known')
    const sizeOfHead = (axes: readonly Axis[], by: number): Size | undefined =>
      axes.length === 4 ? axes[3]?.size : axes.at(-1)?.size.divideExact(Size.of(by))
    const headSize = sizeOfHead(query, heads)
    const valueHeadSize = sizeOfHead(value, keyValueHeads)
    if (!headSize || !valueHeadSize) return context.blockAll('the head size is not known')
    const factors = newFactors(context, { heads, keyValueHeads, headSize, valueHeadSize })
    relateHeads(context, query, queryFactors(factors))
    relateHeads(context, key, keyFactors(factors))
    relateHeads(context, value, valueFactors(factors))
    relateMaskAndCache(context, 3, factors)
    context.contract([{ input: 0, axis: query.length - 1 }])
  },
  rewrite(context) {
    setCounts(context, 'q_num_heads', 'kv_num_heads')
    keepScale(context)
  },
}

/** attnc's own: [B, H, S, d], [B, K, T, d], [B, K, T, e]. Its layout fixes heads and sizes. */
const blockAttention: AxisRule = {
  relate(context) {
    const [query, key, value] = [context.input(0), context.input(1), context.input(2)]
    const [heads, keyValueHeads] = [query?.[1]?.size.value, key?.[1]?.size.value]
    const [headSize, valueHeadSize] = [query?.[3], value?.[3]]
    if (!query || !key || !value || !heads || !keyValueHeads || !headSize || !valueHeadSize)
      return context.blockAll('the number of heads is not known')
    const factors = newFactors(context, {
      heads,
      keyValueHeads,
      headSize: ownSize(context, headSize),
      valueHeadSize: valueHeadSize.size,
    })
    context.unifyProducts([query[1] as Axis], queryHeads(factors))
    context.unifyProducts([key[1] as Axis], [factors.keyValueHeads])
    relateHeads(context, value, valueFactors(factors))
    relateHeads(context, context.output(0), resultFactors(factors))
    relateSequence(context)
    context.contract([{ input: 0, axis: 3 }])
    for (const axis of [headSize, factors.keyValueHeads, factors.groups]) context.block(axis, FIXED)
  },
}

/** Size of a head without the member through which padding reaches the scores. */
function ownSize({ node, axesOf }: RuleContext, { size }: Axis): Size {
  const concat = node.inputs[1]?.producer
  const [, last] = concat?.op === 'Concat' ? concat.inputs : []
  const isPadding = last && axesOf(last)?.[3]?.size.isOne
  return isPadding ? size.sub(Size.of(1)) : size
}

export const attentionRules: Readonly<Record<string, AxisRule>> = {
  Attention: standardAttention,
  RotaryEmbedding: rotaryEmbedding,
  'com.microsoft.Attention': packedWeightAttention,
  'com.microsoft.MultiHeadAttention': multiHeadAttention,
  'com.microsoft.GroupQueryAttention': groupQueryAttention,
  'com.microsoft.RotaryEmbedding': rotaryEmbedding,
  'attnc.BlockSparseAttention': blockAttention,
  'attnc.GatherBlockAttention': blockAttention,
}

export const isFusedAttention = (node: Node): boolean =>
  node.op.endsWith('Attention') && node.operatorName in attentionRules
