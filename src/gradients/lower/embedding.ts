/** com.microsoft EmbedLayerNormalization: the sum of two or three embeddings, then a norm. */
import { floatAttribute, type Value } from '../../graph/graph.js'
import type { Lowering } from './lowering.js'

/** Ids, segments, word, position and segment tables, scale, bias, mask, positions. */
export const embedLayerNorm: Lowering = (c) => {
  const ids = c.input(0)
  const read = (table: Value, places: Value): Value => c.op('Gather', [table, places], { axis: 0 })
  const positions = c.find(8) ?? c.op('Unsqueeze', [c.range(c.sizeAlong(ids, 1)), c.ints(0)])
  const [segments, table] = [c.find(1), c.find(4)]
  let sum = c.op('Add', [read(c.input(2), ids), read(c.input(3), positions)])
  if (segments && table) sum = c.op('Add', [sum, read(table, segments)])
  const epsilon = floatAttribute(c.node, 'epsilon', 1e-12)
  const normalised = c.op('LayerNormalization', [sum, c.input(5), c.input(6)], {
    axis: -1,
    epsilon: { kind: 'float', value: epsilon },
  })
  return [normalised, undefined, sum]
}
