/** ai.onnx Attention, opset 23 and 24: [B, S, H·d] with counts as attributes, or [B, H, S, d]. */
import { floatAttribute, intAttribute, type Value } from '../../graph/graph.js'
import { unsupported } from '../unsupported.js'
import {
  attend,
  causalMask,
  lengthMask,
  lengthOf,
  mergeHeads,
  repeatHeads,
  splitHeads,
  withPast,
} from './attend.js'
import type { Lowering, LoweringContext } from './lowering.js'

export const standardAttention: Lowering = (c) => {
  const { node } = c
  if (node.outputs[3]) throw unsupported(node, 'its scores as an output')
  const [q, k, v] = [c.input(0), c.input(1), c.input(2)]
  const isFlat = c.rank(q) === 3
  const heads = isFlat ? c.count('q_num_heads') : c.size(q, 1)
  const keyValueHeads = isFlat ? c.count('kv_num_heads') : c.size(k, 1)
  const split = (value: Value, count: number): Value =>
    isFlat ? splitHeads(c, value, count) : value
  const sizeOf = (value: Value, count: number): number =>
    isFlat ? c.size(value, 2) / count : c.size(value, 3)
  const query = split(q, heads)
  const past = c.find(4)
  const key = withPast(c, past, split(k, keyValueHeads))
  const value = withPast(c, c.find(5), split(v, keyValueHeads))
  const keySize = sizeOf(k, keyValueHeads)
  const shared = { heads: keyValueHeads, groups: heads / keyValueHeads }
  const attended = attend(c, {
    query,
    key: repeatHeads(c, key, { ...shared, size: keySize }),
    value: repeatHeads(c, value, { ...shared, size: sizeOf(v, keyValueHeads) }),
    scale: floatAttribute(node, 'scale', 1 / Math.sqrt(keySize)),
    softcap: floatAttribute(node, 'softcap', 0),
    ...masksOf(c, query, key, past),
  })
  return [isFlat ? mergeHeads(c, attended) : attended, key, value]
}

/** The mask is boolean (true is seen) or added; causal and by length beside it. */
function masksOf(c: LoweringContext, query: Value, key: Value, past: Value | undefined) {
  const mask = c.find(3)
  const isBoolean = mask !== undefined && c.shapes.dataType(mask) === 'bool'
  const masks = isBoolean ? [mask] : []
  if (intAttribute(c.node, 'is_causal', 0) === 1)
    masks.push(causalMask(c, lengthOf(c, query), lengthOf(c, key), past && lengthOf(c, past)))
  const lengths = c.find(6)
  if (lengths) masks.push(lengthMask(c, lengths, lengthOf(c, key)))
  return { masks, biases: mask && !isBoolean ? [mask] : [] }
}
