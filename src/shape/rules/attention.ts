/** Shapes of fused attention operators, by their documented packings. */
import { intAttribute, intsAttribute, stringAttribute } from '../../graph/graph.js'
import type { ShapeContext, ShapeRule } from '../rule.js'
import { Size } from '../symbolic.js'

const heads = (context: ShapeContext, name: string): Size =>
  Size.of(intAttribute(context.node, name, 1))

const sum = (a: Size | undefined, b: Size | undefined): Size | undefined => a && (b ? a.add(b) : a)

const multiHeadAttention: ShapeRule = (context) => {
  const query = context.dims(0)
  const key = context.dims(1)
  const value = context.dims(2)
  const type = context.dataType(0)
  if (!query) return
  const count = heads(context, 'num_heads')
  if (query.length === 5)
    return context.set(0, [query[0], query[1], count.mul(query[4] as Size)], type)
  const headSize = query[2]?.divideExact(count)
  const valueWidth = value?.length === 4 ? value[3]?.mul(count) : (value?.[2] ?? query[2])
  context.set(0, [query[0], query[1], valueWidth], type)
  const past = context.dims(6)?.[2]
  const keys = key?.length === 4 ? key[2] : key?.[1]
  const total = sum(keys, past)
  context.set(1, [query[0], count, total, headSize], type)
  context.set(2, [query[0], count, total, valueWidth?.divideExact(count)], type)
  context.set(3, [query[0], count, query[1], total], type)
}

const groupQueryAttention: ShapeRule = (context) => {
  const query = context.dims(0)
  const type = context.dataType(0)
  if (!query) return
  const count = heads(context, 'num_heads')
  const keyValue = heads(context, 'kv_num_heads')
  const packed = !context.node.inputs[1]
  const headSize = query[2]?.divideExact(packed ? count.add(keyValue).add(keyValue) : count)
  context.set(0, [query[0], query[1], headSize?.mul(count)], type)
  const past = context.dims(3)
  const total = declaredSize(context, 1, 2) ?? sum(query[1], past?.[2])
  const present = [query[0], keyValue, total, headSize]
  const cacheType = context.dataType(3) ?? type
  context.set(1, present, cacheType)
  context.set(2, present, cacheType)
}

/** What the file says of an output's axis: the cache may be a buffer of fixed length. */
function declaredSize(context: ShapeContext, output: number, axis: number): Size | undefined {
  const dim = context.node.outputs[output]?.type?.dims?.[axis]
  return dim === undefined ? undefined : Size.of(dim)
}

const packedWeightAttention: ShapeRule = (context) => {
  const input = context.dims(0)
  const weight = context.dims(1)
  const type = context.dataType(0)
  if (!input || !weight) return
  const sizes = intsAttribute(context.node, 'qkv_hidden_sizes')
  const width = sizes?.[2] === undefined ? weight[1]?.divideExact(Size.of(3)) : Size.of(sizes[2])
  context.set(0, [input[0], input[1], width], type)
  const past = context.dims(4)
  const count = heads(context, 'num_heads')
  context.set(
    1,
    [Size.of(2), input[0], count, sum(input[1], past?.[3]), width?.divideExact(count)],
    type,
  )
}

/** ai.onnx Attention, in three or four dimensions. */
const standardAttention: ShapeRule = (context) => {
  const query = context.dims(0)
  const key = context.dims(1)
  const value = context.dims(2)
  const type = context.dataType(0)
  if (!query || !key || !value) return context.set(0, undefined, type)
  const isFlat = query.length === 3
  const count = isFlat ? heads(context, 'q_num_heads') : query[1]
  const keyValue = isFlat ? heads(context, 'kv_num_heads') : key[1]
  const size = (dims: readonly Size[], by: Size | undefined): Size | undefined =>
    dims.length === 3 ? by && dims[2]?.divideExact(by) : dims[3]
  const valueHeadSize = size(value, keyValue)
  const queries = isFlat ? query[1] : query[2]
  const total = sum(key.length === 3 ? key[1] : key[2], context.dims(4)?.[2])
  context.set(
    0,
    isFlat
      ? [query[0], queries, valueHeadSize && count?.mul(valueHeadSize)]
      : [query[0], count, queries, valueHeadSize],
    type,
  )
  context.set(1, [query[0], keyValue, total, size(key, keyValue)], type)
  context.set(2, [query[0], keyValue, total, valueHeadSize], type)
  context.set(3, [query[0], count, queries, total], type)
}

const sameAsFirst: ShapeRule = (context) => context.set(0, context.dims(0), context.dataType(0))

const linearAttention: ShapeRule = (context) => {
  const query = context.dims(0)
  const value = context.dims(2)
  context.set(0, query && value && [query[0], query[1], value.at(-1)], context.dataType(0))
}

/** attnc's own: heads before tokens, value size of its own, log-sum-exp in float32. */
const blockSparseAttention: ShapeRule = (context) => {
  const query = context.dims(0)
  if (!query) return
  const [batch, count, queries] = query
  context.set(0, [batch, count, queries, context.dims(2)?.[3]], context.dataType(0))
  context.set(1, [batch, count, queries], 'float32')
}

/** Shaped like query, key and value; sums of rows in float32. */
const blockAttentionGradient: ShapeRule = (context) => {
  const type = context.dataType(0)
  for (const index of [0, 1, 2]) context.set(index, context.dims(index), type)
  context.set(3, context.dims(0)?.slice(0, 3), 'float32')
}

const whole = (context: ShapeContext, name: string, fallback: number): Size =>
  Size.of(intAttribute(context.node, name, fallback))

/** Blocks that each block of queries keeps; how many, where no count says so, only a run can tell. */
const blockSelect: ShapeRule = (context) => {
  const { node } = context
  const [batch, , queries] = context.dims(0) ?? []
  const [, keyValue, keys] = context.dims(1) ?? []
  if (!batch || !queries || !keyValue || !keys) return
  const [queryBlock, keyBlock] = ['query_block', 'key_block'].map((name) =>
    whole(context, name, 64),
  )
  if (!queryBlock || !keyBlock) return
  const upTo = (size: Size, block: Size): Size => size.add(block).sub(Size.of(1)).floorDiv(block)
  const stated = whole(context, 'query_start', intAttribute(node, 'causal', 0) === 0 ? 0 : -1)
  const start = stated.value === -1 ? keys.sub(queries) : stated
  const rows = upTo(start.add(queries), queryBlock).sub(start.floorDiv(queryBlock))
  const columns = upTo(keys, keyBlock)
  const [count, selections] = ['count', 'selections'].map((name) => whole(context, name, 0))
  const kept = count && !count.isZero ? Size.min(columns, count) : undefined
  const layouts = selections && !selections.isZero ? selections : keyValue
  context.set(0, [batch, layouts, rows, kept], 'int32')
  const parts = stringAttribute(node, 'scorer') === 'minmax' ? 2 : 1
  context.set(1, [batch, keyValue, columns, Size.of(parts), context.dims(0)?.[3]], 'float32')
}

/** The context, and a cache whose size never changes. */
const streamAttention: ShapeRule = (context) => {
  const query = context.dims(0)
  const type = context.dataType(0)
  if (query) context.set(0, [...query.slice(0, 3), context.dims(2)?.[3]], type)
  context.set(1, context.dims(4), type)
  context.set(2, context.dims(5), type)
  context.set(3, context.dims(6), 'int64')
  context.set(4, context.dims(7), 'float32')
}

export const attentionRules: Readonly<Record<string, ShapeRule>> = {
  Attention: standardAttention,
  RotaryEmbedding: sameAsFirst,
  'com.microsoft.Attention': packedWeightAttention,
  'com.microsoft.MultiHeadAttention': multiHeadAttention,
  'com.microsoft.GroupQueryAttention': groupQueryAttention,
  'com.microsoft.RotaryEmbedding': sameAsFirst,
  'com.microsoft.LinearAttention': linearAttention,
  'attnc.BlockSparseAttention': blockSparseAttention,
  'attnc.GatherBlockAttention': blockSparseAttention,
  'attnc.BlockSparseAttentionGradient': blockAttentionGradient,
  'attnc.BlockSelect': blockSelect,
  'attnc.StreamAttention': streamAttention,
  // As its maker declared them: the sizes are within its program.
  'attnc.RowProgram': () => {},
  'com.microsoft.MoE': sameAsFirst,
  'com.microsoft.QMoE': sameAsFirst,
}
