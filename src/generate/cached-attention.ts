/**
 * Attention over a cache as ONNX Runtime's GroupQueryAttention, whose cache has room for all tokens
 * and takes the new one in place where input and output lie in the same memory. Models that have
 * the operator keep it.
 */
import type { GraphEdit } from '../graph/edit.js'
import { intAttribute, type Node, type Value } from '../graph/graph.js'
import { tensorOf, toConstant } from '../onnx/numbers.js'
import { int64Tensor } from '../onnx/tensor.js'
import { type AttentionProducts, readProducts } from '../rewrite/attention-products.js'
import { eraseUnread } from '../rewrite/erase-unread.js'
import { inferShapes, type ShapeInfo } from '../shape/infer.js'
import { knownSizes } from '../shape/known-sizes.js'

type Carry = Readonly<Record<string, string>>

/**
 * Of a graph whose step is one token and whose sizes are known. `last` says how many tokens of each row the cache holds
 * before, `length` is the room in it. The new outputs by the caches that they go on from: of all that could be placed.
 */
export function placeCaches(change: GraphEdit, carry: Carry, last: Value, length: number): Carry {
  const shapes = inferShapes(change.graph)
  const room = change.constant(toConstant(tensorOf('int32', [], [length])))
  const placed: Record<string, string> = {}
  const stay = (past: Value, output: Value): void => {
    const { dataType, dims = [] } = past.type ?? {}
    const type = { dataType, dims: dims.with(2, length) }
    change.setType(past, type)
    change.setType(output, type)
    placed[output.name] = past.name
  }
  for (const node of [...change.graph.nodes()]) {
    for (const [past, output] of ownCaches(node, carry)) stay(past, output)
    const found = node.op === 'Softmax' ? readProducts(node, shapes) : undefined
    const key = found && !found.isTurned ? cachedIn(found.key, carry) : undefined
    const value = found && cachedIn(found.value, carry)
    if (!found || !key || !value || !fits(found, shapes)) continue
    const outputs = replace(change, shapes, found, { key, value, counts: [last, room] })
    for (const [at, { past, whole }] of [key, value].entries()) {
      const output = outputs[at] as Value
      change.hide(whole)
      change.expose(output)
      eraseUnread(change, whole.producer as Node)
      stay(past, output)
    }
  }
  return placed
}

/** Keys and values before and after of a node that is the operator already: none, where they are not both caches. */
function ownCaches({ op, domain, inputs, outputs }: Node, carry: Carry): [Value, Value][] {
  if (op !== 'GroupQueryAttention' || domain !== 'com.microsoft') return []
  const caches = [0, 1].flatMap((at): [Value, Value][] => {
    const [past, output] = [inputs[3 + at], outputs[1 + at]]
    return past && output && goesOn(past, output, carry) ? [[past, output]] : []
  })
  return caches.length === 2 ? caches : []
}

/** Whether `output` is the cache [B, K, T, d] of the next step, and `past` that of this one. */
const goesOn = (past: Value, output: Value, carry: Carry): boolean =>
  past.isGraphInput &&
  past.type?.dims?.length === 4 &&
  output.isGraphOutput &&
  carry[output.name] === past.name

/** One token more behind a cache: [B, K, T, d] and [B, K, 1, d] are [B, K, T + 1, d]. */
interface Cached {
  readonly past: Value
  readonly fresh: Value
  readonly whole: Value
}

/** undefined where the value is another, or not what goes on as the cache of the next step. */
function cachedIn(whole: Value, carry: Carry): Cached | undefined {
  const { producer } = whole
  const [first, fresh, ...more] = producer?.inputs ?? []
  if (producer?.op !== 'Concat' || !first || !fresh || more.length > 0) return undefined
  const past = single(first)
  const isAlongTokens = [2, -2].includes(intAttribute(producer, 'axis', 0))
  return isAlongTokens && goesOn(past, whole, carry) ? { past, fresh, whole } : undefined
}

/** What is put together alone is what it was: exporters write it of a cache that was nothing else at first. */
const single = (value: Value): Value =>
  value.producer?.op === 'Concat' && value.producer.inputs.length === 1
    ? (value.producer.inputs[0] as Value)
    : value

/** The operator's keys and values are of one size, a multiple of eight, and all is of one type. */
function fits({ query, key, value }: AttentionProducts, shapes: ShapeInfo): boolean {
  const [size = 0, other] = [key, value].map((each) => knownSizes(each, shapes)?.[3])
  const types = new Set([query, key, value].map((each) => shapes.dataType(each)))
  return size === other && size % 8 === 0 && types.size === 1
}

interface Operands {
  readonly key: Cached
  readonly value: Cached
  /** Tokens in the cache, and room in it. */
  readonly counts: readonly [Value, Value]
}

/** The operator in place of products and softmax; its keys and values. */
function replace(
  change: GraphEdit,
  shapes: ShapeInfo,
  { query, scale, softcap, context }: AttentionProducts,
  { key, value, counts }: Operands,
): readonly Value[] {
  const before = context.producer as Node
  const [B = 0, H = 0, , d = 0] = knownSizes(query, shapes) ?? []
  const [, K = 0] = knownSizes(key.fresh, shapes) ?? []
  const reshape = (from: Value, dims: readonly number[]): Value =>
    change.add('Reshape', [from, change.constant(int64Tensor([dims.length], dims))], { before })
  // Of one token heads before tokens lie as tokens before heads.
  const rows = [query, key.fresh, value.fresh].map((each, at) =>
    reshape(each, [B, 1, (at === 0 ? H : K) * d]),
  )
  const { outputs } = change.addNode({
    op: 'GroupQueryAttention',
    domain: 'com.microsoft',
    inputs: [...rows, key.past, value.past, ...counts],
    outputs: ['output', 'key', 'value'].map((name) => `${change.label}/${name}`),
    attributes: {
      num_heads: { kind: 'int', value: BigInt(H) },
      kv_num_heads: { kind: 'int', value: BigInt(K) },
      scale: { kind: 'float', value: scale },
      softcap: { kind: 'float', value: softcap },
    },
    before,
  })
  const [output, ...caches] = outputs as [Value, Value, Value]
  change.setType(output, { dataType: shapes.dataType(query), dims: [B, 1, H * d] })
  change.replaceUses(context, reshape(output, [B, H, 1, d]))
  eraseUnread(change, before)
  return caches
}
